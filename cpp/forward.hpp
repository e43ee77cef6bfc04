// The steps forward. Included once for each vector width.
#pragma once

#include "cells.hpp"
#include "dots.hpp"
#include "groups.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

template <class C> class ForwardGroup {
  public:
    // panels: from pack_forward, or null: w_h is read as it is, worth it for a step or two
    ForwardGroup(const Forward& call, const Group& group, const float* panels, float* memory)
        : f_(call), walk_(call.batch, group, call.batch.reverse), panels_(panels), width_(up(call.batch.hidden, LANES)),
          rows_(static_cast<std::size_t>(walk_.size())), left_(memory, walk_.size(), 1, call.batch.hidden) {
        const int64_t size = width_ * walk_.size();
        h_ = memory + Left::memory(walk_.size(), 1, call.batch.hidden);
        next_ = h_ + size, c_ = next_ + size;
    }

    static int64_t memory(int64_t hidden, const Group& group) {
        const auto rows = static_cast<int64_t>(group.rows.size());
        return Left::memory(rows, 1, hidden) + 3 * up(hidden, LANES) * rows;
    }

    // Where a panel's packed weights begin [floats].
    static int64_t packed(int64_t hidden, int64_t panel) { return panel_floats(C::gates, hidden, panel); }

    int64_t steps() const { return walk_.longest; }

    // One phase, its parts are panels.
    static constexpr int phases = 1;
    int64_t count(int) const { return width_ / LANES; }
    ONCE void take(int, int64_t first, int64_t last) {
        const int64_t hidden = f_.batch.hidden;
        const Registers registers(walk_.active);
        for (int64_t panel = first; panel < last; panel++) {
            const int64_t unit = panel * LANES, count = std::min<int64_t>(LANES, hidden - unit);
            if (panels_ == nullptr)
                for (int r = 0; r < walk_.active; r++) thin(r, unit, count);
            else
                in_blocks(walk_.active,
                          [&](int row, int rows) { block(row, rows, panels_ + packed(hidden, panel), unit, count); });
        }
    }

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
            for (int64_t unit = 0; unit < hidden; unit += LANES) left_.put(r, 0, unit, h_ + r * width_ + unit);
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

    void block(int first, int rows, const float* weights, int64_t unit, int64_t count) {
        const ForwardRow* row = rows_.data();
        for (int r = first; r < first + rows; r++) fetch_step(row[r], C::gates, unit);
        const auto h = [&](int r) { return row[r].h; };
        product<C::gates>(left_, first, rows, weights, f_.batch.hidden, h,
                          [&](int r, const vec(&sums)[C::gates]) { C::forward(sums, row[r], unit, count); });
    }

    // w_h as it is.
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
    std::vector<ForwardRow> rows_;
    Left left_;             // h of the step before
    float *h_, *next_, *c_; // [rows, width_]: of the previous step, of this one, the memory
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
    const int64_t floats = ForwardGroup<C>::packed(hidden, panels);
    const bool much = f.batch.rows * f.batch.steps * hidden > alone_floats;
    parallel(much ? threads : 1, static_cast<int>(f.batch.rows), [&](int b) { finish_row<C>(f, b); });
    const Plan plan = make_plan(f.batch, threads);
    if (plan.groups.empty()) return;
    float* packed = nullptr;
    if (plan.block_steps > STEPS_UNPACKED) {
        packed = packed_arena.reserve(floats);
        parallel(floats < alone_floats ? 1 : threads, static_cast<int>(panels),
                 [&](int p) { pack_forward<C::gates>(f.w_h, hidden, p, packed + ForwardGroup<C>::packed(hidden, p)); });
    }
    take_steps<ForwardGroup<C>>(f, plan, packed, floats, threads);
}

} // namespace
} // namespace cellgate
