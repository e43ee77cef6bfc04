// How rows are put into groups, where a group stands in its rows, and how threads take the groups' steps. Included once
// for each vector width.
#pragma once

#include <algorithm>
#include <vector>

#include "memory.hpp"
#include "recurrence.hpp"
#include "threads.hpp"
#ifdef ROUNDED
#include "rounded.hpp"
#else
#include "products.hpp"
#endif

// Of each function with sums there is one copy: in another place the compiler may fuse them in another way, and what is
// computed would depend on how many threads compute it.
#define ONCE __attribute__((noinline))

namespace cellgate {
namespace {

thread_local Arena packed_arena, state_arena;

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
    const int64_t together = blocks_together(batch.hidden);
    if (blocks < 4 * threads && together > 0) blocks = std::min(rows, up(blocks, threads));
    const int64_t groups = together == 0 ? 1 : std::min(blocks, up((blocks + together - 1) / together, threads));
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

// Take all steps of a plan's groups, forward or backward: a group is Run's, made of the call, the packed weights
// and memory of its own. A step has phases, the parts of a phase need nothing of each other.
template <class Run, class Call>
void take_steps(const Call& call, const Plan& plan, const float* packed, int64_t weights, int threads) {
    const int groups = static_cast<int>(plan.groups.size());
    const auto with_group = [&](int number, auto&& take) {
        const Group& group = plan.groups[static_cast<std::size_t>(number)];
        Run run(call, group, packed, state_arena.reserve(Run::memory(call.batch.hidden, group)));
        for (int64_t s = 0; s < run.steps(); s++) {
            run.begin(s);
            for (int phase = 0; phase < Run::phases; phase++) take(run, phase);
            run.end();
        }
    };
    if (groups >= threads || weights < alone_floats)
        return parallel(threads, groups, [&](int i) {
            with_group(i, [](Run& run, int phase) { run.take(phase, 0, run.count(phase)); });
        });
    // Fewer groups than threads: a step's units are shared out.
    for (int i = 0; i < groups; i++)
        with_group(i, [&](Run& run, int phase) {
            const int64_t count = run.count(phase);
            const int parts = static_cast<int>(std::min<int64_t>(threads, count));
            parallel(threads, parts, [&](int p) { run.take(phase, count * p / parts, count * (p + 1) / parts); });
        });
}

} // namespace
} // namespace cellgate
