// The steps forward. Included once for each vector width.
#pragma once

#include "cells.hpp"
#include "groups.hpp"
#include "products.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

// w_h [G*H, H] -> panels of LANES units, [panel][k][gate][LANES]; units past H are zeros.
template <int G> void pack_forward(const float* w_h, int64_t hidden, int64_t panel, float* to) {
    const int64_t first = panel * LANES, count = std::min<int64_t>(LANES, hidden - first);
    for (int g = 0; g < G; g++) {
        const float* from = w_h + (g * hidden + first) * hidden;
        for (int64_t k = 0; k < hidden; k++) {
            float* out = to + (k * G + g) * LANES;
            for (int64_t u = 0; u < count; u++) out[u] = from[u * hidden + k];
            for (int64_t u = count; u < LANES; u++) out[u] = 0;
        }
    }
}

template <class C> class ForwardGroup {
  public:
    // panels: from pack_forward, or null: w_h is read as it is, worth it for a step or two
    ForwardGroup(const Forward& call, const Group& group, const float* panels, float* memory)
        : f_(call), walk_(call.batch, group, call.batch.reverse), panels_(panels), width_(up(call.batch.hidden, LANES)),
          rows_(static_cast<std::size_t>(walk_.size())) {
        const int64_t size = width_ * walk_.size();
        h_ = memory, next_ = memory + size, c_ = memory + 2 * size;
    }

    static int64_t memory(int64_t hidden, const Group& group) {
        return 3 * up(hidden, LANES) * static_cast<int64_t>(group.rows.size());
    }

    int64_t steps() const { return walk_.longest; }
    int64_t count() const { return width_ / LANES; } // panels

    void begin(int64_t s) {
        const int64_t hidden = f_.batch.hidden, steps = f_.batch.steps;
        walk_.at(s);
        for (int r = walk_.entered; r < walk_.active; r++) {
            enter(h_ + r * width_, f_.h_0 + walk_.row(r) * hidden);
            if (C::has_memory) enter(c_ + r * width_, f_.c_0 + walk_.row(r) * hidden);
        }
        for (int r = 0; r < walk_.active; r++) {
            const int64_t token = walk_.token(r), place = walk_.row(r) * steps + walk_.time;
            if (f_.before != nullptr) copy_floats(f_.before + token * f_.before_stride, h_ + r * width_, hidden);
            rows_[static_cast<std::size_t>(r)] = {
                f_.gates + (f_.index != nullptr ? f_.index[place] : token) * C::gates * hidden,
                h_ + r * width_,
                next_ + r * width_,
                c_ + r * width_,
                f_.y + place * hidden,
                f_.kept == nullptr ? nullptr : f_.kept + token * C::kept * hidden,
                f_.cells == nullptr ? nullptr : f_.cells + token * hidden,
                f_.b_h,
                f_.p,
                hidden,
            };
        }
    }

    // Units [first, last) panels of this step.
    void panels(int64_t first, int64_t last) {
        const int64_t hidden = f_.batch.hidden;
        for (int64_t panel = first; panel < last; panel++) {
            const int64_t unit = panel * LANES, count = std::min<int64_t>(LANES, hidden - unit);
            if (panels_ == nullptr)
                for (int r = 0; r < walk_.active; r++) thin(r, unit, count);
            else
                in_blocks(walk_.active, [&](int row, int rows) {
                    with_rows(rows, [&](auto n) { block<decltype(n)::value>(row, panel, unit, count); });
                });
        }
    }

    void end() {
        std::swap(h_, next_);
        const int64_t hidden = f_.batch.hidden;
        for (int r = walk_.stays(); r < walk_.active; r++) {
            copy_floats(f_.h_n + walk_.row(r) * hidden, h_ + r * width_, hidden);
            if (C::has_memory) copy_floats(f_.c_n + walk_.row(r) * hidden, c_ + r * width_, hidden);
        }
    }

  private:
    void enter(float* to, const float* from) const {
        copy_floats(to, from, f_.batch.hidden);
        zero_floats(to + f_.batch.hidden, width_ - f_.batch.hidden);
    }

    template <int R> void block(int row, int64_t panel, int64_t unit, int64_t count) {
        constexpr int G = C::gates;
        const int64_t hidden = f_.batch.hidden;
        const ForwardRow* rows = rows_.data() + row;
        for (int r = 0; r < R; r++) fetch_step(rows[r], G, unit);
        const float* h[R];
        vec sums[R][G];
        for (int r = 0; r < R; r++) {
            h[r] = rows[r].h;
            for (int g = 0; g < G; g++) sums[r][g] = vec{};
        }
        multiply(h, panels_ + panel * hidden * G * LANES, hidden, sums);
        for (int r = 0; r < R; r++) C::forward(sums[r], rows[r], unit, count);
    }

    void thin(int r, int64_t unit, int64_t count) {
        constexpr int G = C::gates;
        const int64_t hidden = f_.batch.hidden;
        const float* h = h_ + r * width_;
        vec sums[G] = {};
        for (int g = 0; g < G; g++) {
            float units[LANES] = {};
            dots(f_.w_h + (g * hidden + unit) * hidden, count, h, hidden, units);
            sums[g] = load(units);
        }
        C::forward(sums, rows_[static_cast<std::size_t>(r)], unit, count);
    }

    const Forward& f_;
    Walk walk_;
    const float* panels_;
    int64_t width_;
    float *h_, *next_, *c_; // [rows, width_]: of the previous step, of this one, the memory
    std::vector<ForwardRow> rows_;
};

// Rows without a token give their state back; what is past a row's end in y is zero.
template <class C> void finish_row(const Forward& f, int64_t b) {
    const int64_t hidden = f.batch.hidden, length = f.batch.lengths[b];
    zero_floats(f.y + (b * f.batch.steps + length) * hidden, (f.batch.steps - length) * hidden);
    if (length > 0) return;
    copy_floats(f.h_n + b * hidden, f.h_0 + b * hidden, hidden);
    if (C::has_memory) copy_floats(f.c_n + b * hidden, f.c_0 + b * hidden, hidden);
}

template <class C> void forward(const Forward& f, int threads) {
    const int64_t hidden = f.batch.hidden, panels = up(hidden, LANES) / LANES;
    const int64_t panel_floats = hidden * C::gates * LANES;
    const bool much = f.batch.rows * f.batch.steps * hidden > alone_floats;
    parallel(much ? threads : 1, static_cast<int>(f.batch.rows), [&](int b) { finish_row<C>(f, b); });
    const Plan plan = make_plan(f.batch, threads);
    if (plan.groups.empty()) return;
    float* packed = nullptr;
    if (plan.block_steps > 3) {
        packed = packed_arena.reserve(panels * panel_floats);
        const int packers = panels * panel_floats < alone_floats ? 1 : threads;
        parallel(packers, static_cast<int>(panels),
                 [&](int p) { pack_forward<C::gates>(f.w_h, hidden, p, packed + p * panel_floats); });
    }
    take_steps<ForwardGroup<C>>(f, plan, packed, panels * panel_floats, threads);
}

} // namespace
} // namespace cellgate
