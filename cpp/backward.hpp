// The steps backward. Included once for each vector width.
#pragma once

#include "cells.hpp"
#include "groups.hpp"
#include "products.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

constexpr int WIDE = 4; // vectors of a panel

// w_h [K, H] -> [k][V * LANES] for units [first, first + V * LANES); units past H are zeros.
inline void pack_backward(const float* w_h, int64_t depth, int64_t hidden, int64_t first, int64_t width, float* to) {
    const int64_t count = std::min(width, hidden - first);
    for (int64_t k = 0; k < depth; k++) {
        copy_floats(to + k * width, w_h + k * hidden + first, count);
        zero_floats(to + k * width + count, width - count);
    }
}

// Row `row` of from [B, H]; zeros where `from` is null.
inline void copy_or_zero(float* to, const float* from, int64_t row, int64_t hidden) {
    if (from == nullptr) return zero_floats(to, hidden);
    copy_floats(to, from + row * hidden, hidden);
}

template <class C> class BackwardGroup {
  public:
    BackwardGroup(const Backward& call, const Group& group, const float* panels, float* memory)
        : b_(call), walk_(call.batch, group, !call.batch.reverse), panels_(panels),
          width_(up(call.batch.hidden, LANES)), rows_(static_cast<std::size_t>(walk_.size())) {
        d_h_ = memory, d_c_ = memory + width_ * walk_.size();
    }

    static int64_t memory(int64_t hidden, const Group& group) {
        return 2 * up(hidden, LANES) * static_cast<int64_t>(group.rows.size());
    }

    int64_t steps() const { return walk_.longest; }
    int64_t count() const { return (width_ / LANES + WIDE - 1) / WIDE; } // panels

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
            gates(rows_[static_cast<std::size_t>(r)]);
        }
    }

    // What the gates of this step give to h of the step before, units of [first, last) panels.
    void panels(int64_t first, int64_t last) {
        constexpr int64_t units = WIDE * LANES;
        for (int64_t panel = first; panel < last; panel++) {
            const int64_t unit = panel * units;
            const float* weights = panels_ + unit * C::gates * b_.batch.hidden;
            const int vectors = static_cast<int>((std::min(width_ - unit, units)) / LANES);
            in_blocks(walk_.active, [&](int row, int rows) {
                with_rows(rows, [&](auto n) {
                    constexpr int R = decltype(n)::value;
                    if (vectors == 4) block<R, 4>(row, unit, weights);
                    if (vectors == 3) block<R, 3>(row, unit, weights);
                    if (vectors == 2) block<R, 2>(row, unit, weights);
                    if (vectors == 1) block<R, 1>(row, unit, weights);
                });
            });
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
    // Gradients of a row's gates.
    void gates(const BackwardRow& row) const {
        const int64_t next = b_.batch.reverse ? 1 : -1;
        for (int64_t unit = 0; unit < width_; unit += LANES) {
            fetch_step_back(row, C::kept, next, unit);
            C::backward(row, unit, std::min<int64_t>(LANES, row.hidden - unit));
        }
    }

    void enter(float* to, const float* from, int64_t row) const {
        copy_or_zero(to, from, row, b_.batch.hidden);
        zero_floats(to + b_.batch.hidden, width_ - b_.batch.hidden);
    }

    template <int R, int V> void block(int row, int64_t unit, const float* weights) {
        const int64_t hidden = b_.batch.hidden;
        const float* left[R];
        vec sums[R][V];
        for (int r = 0; r < R; r++) {
            left[r] = rows_[static_cast<std::size_t>(row + r)].d_gates + (C::kept - C::gates) * hidden;
            for (int v = 0; v < V; v++)
                sums[r][v] = C::carries ? load(d_h_ + (row + r) * width_ + unit + v * LANES) : vec{};
        }
        multiply(left, weights, C::gates * hidden, sums);
        for (int r = 0; r < R; r++)
            for (int v = 0; v < V; v++) store(d_h_ + (row + r) * width_ + unit + v * LANES, sums[r][v]);
    }

    const Backward& b_;
    Walk walk_;
    const float* panels_;
    int64_t width_;
    float *d_h_, *d_c_; // [rows, width_]: gradients that come from the step that was computed before this one
    std::vector<BackwardRow> rows_;
};

template <class C> void backward(const Backward& b, int threads) {
    const int64_t hidden = b.batch.hidden, depth = C::gates * hidden;
    const int64_t width = up(hidden, LANES), panels = (width / LANES + WIDE - 1) / WIDE;
    for (int64_t row = 0; row < b.batch.rows; row++) {
        if (b.batch.lengths[row] > 0) continue;
        copy_or_zero(b.d_h_0 + row * hidden, b.d_h_n, row, hidden);
        if (C::has_memory) copy_or_zero(b.d_c_0 + row * hidden, b.d_c_n, row, hidden);
    }
    const Plan plan = make_plan(b.batch, threads);
    if (plan.groups.empty()) return;
    const int64_t floats = depth * width;
    float* packed = packed_arena.reserve(floats);
    parallel(floats < alone_floats ? 1 : threads, static_cast<int>(panels), [&](int p) {
        const int64_t unit = p * WIDE * LANES;
        pack_backward(b.w_h, depth, hidden, unit, std::min<int64_t>(WIDE * LANES, width - unit), packed + unit * depth);
    });
    take_steps<BackwardGroup<C>>(b, plan, packed, floats, threads);
}

} // namespace
} // namespace cellgate
