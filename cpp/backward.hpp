// The steps backward. Included once for each vector width.
#pragma once

#include "cells.hpp"
#include "groups.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

constexpr int WIDE = 4; // vectors of a panel

// Row `row` of from [B, H]; zeros where `from` is null.
inline void copy_or_zero(float* to, const float* from, int64_t row, int64_t hidden) {
    if (from == nullptr) return zero_floats(to, hidden);
    copy_floats(to, from + row * hidden, hidden);
}

template <class C> class BackwardGroup {
  public:
    BackwardGroup(const Backward& call, const Group& group, const float* panels, float* memory)
        : b_(call), walk_(call.batch, group, !call.batch.reverse), panels_(panels),
          width_(up(call.batch.hidden, LANES)), rows_(static_cast<std::size_t>(walk_.size())),
          left_(memory, walk_.size(), C::gates, call.batch.hidden) {
        d_h_ = memory + Left::memory(walk_.size(), C::gates, call.batch.hidden);
        d_c_ = d_h_ + width_ * walk_.size();
    }

    static int64_t memory(int64_t hidden, const Group& group) {
        const auto rows = static_cast<int64_t>(group.rows.size());
        return Left::memory(rows, C::gates, hidden) + 2 * up(hidden, LANES) * rows;
    }

    // Where the packed weights of the units from `unit` on begin [floats].
    static int64_t panel(int64_t hidden, int64_t unit) { return panel_floats(C::gates, hidden, unit / LANES); }

    int64_t steps() const { return walk_.longest; }

    // Gradients of the gates, in parts of SHARE units; then what they give to h of the step before, in panels.
    static constexpr int phases = 2;
    int64_t count(int phase) const {
        const int64_t units = phase == 0 ? SHARE : WIDE * LANES;
        return (width_ + units - 1) / units;
    }
    ONCE void take(int phase, int64_t first, int64_t last) {
        if (phase == 0)
            gates(first * SHARE, std::min(last * SHARE, width_));
        else
            products(first, last);
    }

    void begin(int64_t s) {
        const int64_t hidden = b_.batch.hidden, steps = b_.batch.steps;
        walk_.at(s);
        for (int r = walk_.entered; r < walk_.active; r++) {
            enter(d_h_ + r * width_, b_.d_h_n, walk_.row(r));
            if (C::has_memory) enter(d_c_ + r * width_, b_.d_c_n, walk_.row(r));
        }
        for (int r = 0; r < walk_.active; r++) {
            const int64_t row = walk_.row(r), token = walk_.token(r);
            const bool first = b_.batch.reverse ? walk_.time == walk_.length(r) - 1 : walk_.time == 0;
            const int64_t previous = token + (b_.batch.reverse ? 1 : -1);
            rows_[static_cast<std::size_t>(r)] = {
                b_.kept + token * C::kept * hidden,
                C::has_memory ? b_.cells + token * hidden : nullptr,
                !C::has_memory ? nullptr
                : first        ? b_.c_0 + row * hidden
                               : b_.cells + previous * hidden,
                b_.before == nullptr ? nullptr : b_.before + token * b_.before_stride,
                b_.d_y + (row * steps + walk_.time) * hidden,
                d_h_ + r * width_,
                d_c_ + r * width_,
                b_.d_gates + token * C::kept * hidden,
                b_.p,
                b_.d_p == nullptr ? nullptr : b_.d_p + 3 * row * hidden,
                hidden,
            };
        }
    }

    void end() {
        const int64_t hidden = b_.batch.hidden;
        for (int r = walk_.stays(); r < walk_.active; r++) {
            copy_floats(b_.d_h_0 + walk_.row(r) * hidden, d_h_ + r * width_, hidden);
            if (C::has_memory) copy_floats(b_.d_c_0 + walk_.row(r) * hidden, d_c_ + r * width_, hidden);
        }
    }

  private:
    static constexpr int64_t SHARE = 64; // units

    void enter(float* to, const float* from, int64_t row) const {
        copy_or_zero(to, from, row, b_.batch.hidden);
        zero_floats(to + b_.batch.hidden, width_ - b_.batch.hidden);
    }

    // Of units [first, last).
    void gates(int64_t first, int64_t last) {
        const int64_t next = b_.batch.reverse ? 1 : -1;
        for (int r = 0; r < walk_.active; r++) {
            const BackwardRow& row = rows_[static_cast<std::size_t>(r)];
            for (int64_t unit = first; unit < last; unit += LANES) {
                fetch_step_back(row, C::kept, next, unit);
                C::backward(row, unit, std::min<int64_t>(LANES, row.hidden - unit));
                for (int g = 0; g < C::gates; g++) left_.put(r, g, unit, recurrent(r) + g * row.hidden + unit);
            }
        }
    }

    // Of panels [first, last).
    void products(int64_t first, int64_t last) {
        constexpr int64_t units = WIDE * LANES;
        const Registers registers(walk_.active);
        for (int64_t place = first; place < last; place++) {
            const int64_t unit = place * units;
            const float* weights = panels_ + panel(b_.batch.hidden, unit);
            const int vectors = static_cast<int>((std::min(width_ - unit, units)) / LANES);
            in_blocks(walk_.active, [&](int row, int rows) {
                if (vectors == 4) block<4>(row, rows, unit, weights);
                if (vectors == 3) block<3>(row, rows, unit, weights);
                if (vectors == 2) block<2>(row, rows, unit, weights);
                if (vectors == 1) block<1>(row, rows, unit, weights);
            });
        }
    }

    // d_gates that meet w_h; a gru's are the last three of four.
    const float* recurrent(int r) const {
        const BackwardRow& row = rows_[static_cast<std::size_t>(r)];
        return row.d_gates + (C::kept - C::gates) * row.hidden;
    }

    template <int V> void block(int first, int rows, int64_t unit, const float* weights) {
        const auto row = [&](int r) { return recurrent(r); };
        product<V>(left_, first, rows, weights, C::gates * b_.batch.hidden, row, [&](int r, const vec(&sums)[V]) {
            float* to = d_h_ + r * width_ + unit;
            for (int v = 0; v < V; v++, to += LANES) store(to, C::carries ? load(to) + sums[v] : sums[v]);
        });
    }

    const Backward& b_;
    Walk walk_;
    const float* panels_;
    int64_t width_;
    std::vector<BackwardRow> rows_;
    Left left_;         // gradients of the gates
    float *d_h_, *d_c_; // [rows, width_]: gradients that come from the step that was computed before this one
};

template <class C> void backward(const Backward& b, int threads) {
    const int64_t hidden = b.batch.hidden, width = up(hidden, LANES), panels = (width / LANES + WIDE - 1) / WIDE;
    for (int64_t row = 0; row < b.batch.rows; row++) {
        if (b.batch.lengths[row] > 0) continue;
        copy_or_zero(b.d_h_0 + row * hidden, b.d_h_n, row, hidden);
        if (C::has_memory) copy_or_zero(b.d_c_0 + row * hidden, b.d_c_n, row, hidden);
    }
    const Plan plan = make_plan(b.batch, threads);
    if (plan.groups.empty()) return;
    const int64_t floats = BackwardGroup<C>::panel(hidden, width);
    float* packed = packed_arena.reserve(floats);
    parallel(floats < alone_floats ? 1 : threads, static_cast<int>(panels), [&](int p) {
        const int64_t unit = p * WIDE * LANES;
        const int64_t vectors = std::min<int64_t>(WIDE, (width - unit) / LANES);
        pack_backward(b.w_h, C::gates, hidden, unit, vectors, packed + BackwardGroup<C>::panel(hidden, unit));
    });
    take_steps<BackwardGroup<C>>(b, plan, packed, floats, threads);
}

} // namespace
} // namespace cellgate
