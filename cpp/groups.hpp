// How rows are put into groups, where a group stands in its rows, and how threads take the groups' steps. Included once
// for each vector width.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "recurrence.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

// Memory of a thread that is kept from call to call: a fresh page costs more than the work done on it.
class Arena {
  public:
    float* reserve(int64_t floats) {
        if (floats > size_) {
            size_ = (floats + floats / 4 + 15) / 16 * 16;
            memory_.reset();
            void* taken = std::aligned_alloc(64, static_cast<std::size_t>(size_) * sizeof(float));
            if (taken == nullptr) {
                size_ = 0;
                throw std::bad_alloc();
            }
            memory_.reset(static_cast<float*>(taken));
        }
        return memory_.get();
    }

  private:
    struct Free {
        void operator()(float* memory) const { std::free(memory); }
    };
    std::unique_ptr<float, Free> memory_;
    int64_t size_ = 0;
};

thread_local Arena packed_arena, state_arena;

constexpr int64_t up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

constexpr int64_t alone_floats = 48 * 1024; // weights below this are not worth a second thread at every step

struct Group {
    std::vector<int64_t> rows; // longest first
};

struct Plan {
    std::vector<Group> groups;
    int64_t block_steps = 0; // sum over blocks of BLOCK rows of their longest length: the same for any threads
};

// Rows of like length make a block, blocks are dealt out so that groups weigh alike.
inline Plan make_plan(const Rows& batch, int threads) {
    std::vector<int64_t> order;
    for (int64_t b = 0; b < batch.rows; b++)
        if (batch.lengths[b] > 0) order.push_back(b);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return batch.lengths[a] > batch.lengths[b]; });
    const int64_t rows = static_cast<int64_t>(order.size());
    Plan plan;
    if (rows == 0) return plan;
    for (int64_t row = 0; row < rows; row += BLOCK)
        plan.block_steps += batch.lengths[order[static_cast<std::size_t>(row)]];
    int64_t blocks = (rows + BLOCK - 1) / BLOCK;
    if (blocks < 4 * threads) blocks = std::min(rows, up(blocks, threads));
    // Weights that do not stay in a core's cache are read once for several blocks.
    const int64_t together = batch.hidden <= 192 ? 1 : batch.hidden <= 320 ? 3 : 8;
    int64_t groups = (blocks + together - 1) / together;
    groups = std::min(blocks, up(groups, threads));
    plan.groups.resize(static_cast<std::size_t>(groups));
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t round = block / groups, place = block % groups;
        auto& group = plan.groups[static_cast<std::size_t>(round % 2 ? groups - 1 - place : place)];
        const int64_t first = rows * block / blocks, last = rows * (block + 1) / blocks;
        group.rows.insert(group.rows.end(), order.begin() + first, order.begin() + last);
    }
    return plan;
}

// Where a group stands in its rows.
class Walk {
  public:
    // downward: positions from the longest row's last to the first
    Walk(const Rows& batch, const Group& group, bool downward) : batch_(batch), group_(group), downward_(downward) {
        longest = batch.lengths[group.rows.front()];
        active = downward ? 0 : static_cast<int>(group.rows.size());
    }

    // Position `time` at step s, rows that have it, [entered, active) those that had none before.
    void at(int64_t s) {
        time = downward_ ? longest - 1 - s : s;
        entered = s == 0 ? 0 : active;
        if (downward_) {
            while (active < size() && length(active) > time) active++;
        } else {
            while (active > 0 && length(active - 1) <= time) active--;
        }
    }

    // Rows [stays, active) have no further position.
    int stays() const {
        if (downward_) return time == 0 ? 0 : active;
        int count = active;
        while (count > 0 && length(count - 1) <= time + 1) count--;
        return count;
    }

    int size() const { return static_cast<int>(group_.rows.size()); }
    int64_t row(int r) const { return group_.rows[static_cast<std::size_t>(r)]; }
    int64_t length(int r) const { return batch_.lengths[row(r)]; }
    int64_t token(int r) const { return batch_.starts[row(r)] + time; }

    int64_t longest, time = 0;
    int active, entered = 0;

  private:
    const Rows& batch_;
    const Group& group_;
    bool downward_;
};

inline void copy_floats(float* to, const float* from, int64_t count) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

inline void zero_floats(float* to, int64_t count) { std::fill_n(to, count, 0.0f); } // count 0: `to` may be null

// Take all steps of a plan's groups, forward or backward: a group is Run's, made of the call, the packed weights
// and memory of its own.
template <class Run, class Call>
void take_steps(const Call& call, const Plan& plan, const float* packed, int64_t weights, int threads) {
    const int groups = static_cast<int>(plan.groups.size());
    const auto with_group = [&](int number, auto&& panels) {
        const Group& group = plan.groups[static_cast<std::size_t>(number)];
        Run run(call, group, packed, state_arena.reserve(Run::memory(call.batch.hidden, group)));
        for (int64_t s = 0; s < run.steps(); s++) {
            run.begin(s);
            panels(run);
            run.end();
        }
    };
    if (groups >= threads || weights < alone_floats)
        return parallel(threads, groups, [&](int i) { with_group(i, [](Run& run) { run.panels(0, run.count()); }); });
    // Fewer rows than threads: a step's units are shared out.
    for (int i = 0; i < groups; i++)
        with_group(i, [&](Run& run) {
            const int64_t count = run.count();
            const int parts = static_cast<int>(std::min<int64_t>(threads, count));
            parallel(threads, parts, [&](int p) { run.panels(count * p / parts, count * (p + 1) / parts); });
        });
}

// Run block(first, rows) over `active` rows in even blocks of at most BLOCK.
template <class Work> inline void in_blocks(int active, Work&& block) {
    const int count = (active + BLOCK - 1) / BLOCK;
    for (int i = 0; i < count; i++) {
        const int first = active * i / count;
        block(first, active * (i + 1) / count - first);
    }
}

// Call work(std::integral_constant<int, rows>) for rows in 1..BLOCK.
template <int R = BLOCK, class Work> inline void with_rows(int rows, Work&& work) {
    if (rows == R) return work(std::integral_constant<int, R>());
    if constexpr (R > 1) with_rows<R - 1>(rows, std::forward<Work>(work));
}

} // namespace
} // namespace cellgate
