// What each cell does with one row's sums at one step, LANES units at a time. Equations: cellgate.ops.
// Included once for each vector width.
#pragma once

#include "recurrence.hpp"
#include "vec.hpp"

namespace cellgate {
namespace {

// One row at one position. Arrays of H floats or, for gates and kept, of so many times H.
struct ForwardRow {
    const float* gates; // W_x x + b
    const float* h;     // of the step before
    float* next;        // h of this one
    float* c;           // memory: of the step before, then of this one
    float* y;
    float* kept; // null where no gradient is wanted
    float* cells;
    const float* b_h; // gru; null: zeros
    const float* p;   // peephole: of i, f, o
    int64_t hidden;
};

struct BackwardRow {
    const float* kept;
    const float* cells;    // c of this step
    const float* c_before; // c of the step before
    const float* h_before; // gru
    const float* d_y;
    float* d_h; // what the later step gives to h; gru: what this one carries to the step before
    float* d_c;
    float* d_gates;
    const float* p; // peephole
    float* d_p;
    int64_t hidden;
};

// Ask for memory that will be needed when the products at hand are done.
inline void fetch_to_read(const float* from) { __builtin_prefetch(from, 0); }
inline void fetch_to_write(const float* to) { __builtin_prefetch(to, 1); }

inline void fetch_step(const ForwardRow& row, int gates, int64_t unit) {
    for (int g = 0; g < gates; g++) fetch_to_read(row.gates + g * row.hidden + unit);
    fetch_to_write(row.y + unit);
    if (row.cells != nullptr) fetch_to_write(row.cells + unit);
}

// next: 1 or -1, where the token lies that comes after this one.
inline void fetch_step_back(const BackwardRow& row, int kept, int64_t next, int64_t unit) {
    for (int k = 0; k < kept; k++) {
        fetch_to_read(row.kept + (k + kept * next) * row.hidden + unit);
        fetch_to_write(row.d_gates + (k + kept * next) * row.hidden + unit);
    }
    fetch_to_read(row.d_y + next * row.hidden + unit);
}

// With peepholes the gates i and f also see the memory of the step before, and o that of this one.
template <bool PEEPHOLES> struct Memory {
    static constexpr int gates = 4, kept = 4;
    static constexpr bool has_memory = true;
    static constexpr bool carries = false; // whether d_h goes to the step before other than through the gates

    static void forward(const vec* sums, const ForwardRow& row, int64_t unit, int64_t count) {
        const float* in = row.gates + unit;
        const int64_t H = row.hidden;
        const vec before = load(row.c + unit);
        vec i = sums[0] + load(in, count), f = sums[1] + load(in + H, count), o = sums[3] + load(in + 3 * H, count);
        if constexpr (PEEPHOLES) {
            i += load(row.p + unit, count) * before;
            f += load(row.p + H + unit, count) * before;
        }
        i = sigmoid(i), f = sigmoid(f);
        const vec g = tanh(sums[2] + load(in + 2 * H, count));
        const vec c = f * before + i * g;
        if constexpr (PEEPHOLES) o += load(row.p + 2 * H + unit, count) * c;
        o = sigmoid(o);
        const vec h = o * tanh(c);
        store(row.c + unit, c);
        store(row.next + unit, h);
        store(row.y + unit, h, count);
        if (row.kept == nullptr) return;
        float* kept = row.kept + unit;
        store(kept, i, count), store(kept + H, f, count), store(kept + 2 * H, g, count), store(kept + 3 * H, o, count);
        store(row.cells + unit, c, count);
    }

    static void backward(const BackwardRow& row, int64_t unit, int64_t count) {
        const float* kept = row.kept + unit;
        const int64_t H = row.hidden;
        const vec i = load(kept, count), f = load(kept + H, count), g = load(kept + 2 * H, count),
                  o = load(kept + 3 * H, count);
        const vec tanh_c = tanh(load(row.cells + unit, count));
        const vec d_h = load(row.d_h + unit) + load(row.d_y + unit, count);
        const vec before = load(row.c_before + unit, count);
        const vec d_o = d_h * tanh_c * o * (1.0f - o);
        vec d_c = load(row.d_c + unit) + d_h * o * (1.0f - tanh_c * tanh_c);
        if constexpr (PEEPHOLES) d_c += d_o * load(row.p + 2 * H + unit, count);
        const vec d_i = d_c * g * i * (1.0f - i), d_f = d_c * before * f * (1.0f - f);
        vec d_before = d_c * f;
        if constexpr (PEEPHOLES) {
            d_before += d_i * load(row.p + unit, count) + d_f * load(row.p + H + unit, count);
            float* d_p = row.d_p + unit;
            store(d_p, load(d_p, count) + d_i * before, count);
            store(d_p + H, load(d_p + H, count) + d_f * before, count);
            store(d_p + 2 * H, load(d_p + 2 * H, count) + d_o * load(row.cells + unit, count), count);
        }
        store(row.d_c + unit, d_before);
        float* d = row.d_gates + unit;
        store(d, d_i, count), store(d + H, d_f, count);
        store(d + 2 * H, d_c * i * (1.0f - g * g), count), store(d + 3 * H, d_o, count);
    }
};

using Lstm = Memory<false>;
using Peephole = Memory<true>;

struct Gru {
    static constexpr int gates = 3, kept = 4;
    static constexpr bool has_memory = false;
    static constexpr bool carries = true;

    static void forward(const vec* sums, const ForwardRow& row, int64_t unit, int64_t count) {
        const float* in = row.gates + unit;
        const int64_t H = row.hidden;
        const vec r = sigmoid(sums[0] + load(in, count)), z = sigmoid(sums[1] + load(in + H, count));
        const vec q = row.b_h == nullptr ? sums[2] : sums[2] + load(row.b_h + unit, count);
        const vec n = tanh(load(in + 2 * H, count) + r * q);
        const vec h = (1.0f - z) * n + z * load(row.h + unit);
        store(row.next + unit, h);
        store(row.y + unit, h, count);
        if (row.kept == nullptr) return;
        float* kept = row.kept + unit;
        store(kept, n, count), store(kept + H, r, count), store(kept + 2 * H, z, count), store(kept + 3 * H, q, count);
    }

    static void backward(const BackwardRow& row, int64_t unit, int64_t count) {
        const float* kept = row.kept + unit;
        const int64_t H = row.hidden;
        const vec n = load(kept, count), r = load(kept + H, count), z = load(kept + 2 * H, count),
                  q = load(kept + 3 * H, count);
        const vec d_h = load(row.d_h + unit) + load(row.d_y + unit, count);
        const vec d_n = d_h * (1.0f - z) * (1.0f - n * n);
        store(row.d_h + unit, d_h * z);
        float* d = row.d_gates + unit;
        store(d, d_n, count);
        store(d + H, d_n * q * r * (1.0f - r), count);
        store(d + 2 * H, d_h * (load(row.h_before + unit, count) - n) * z * (1.0f - z), count);
        store(d + 3 * H, d_n * r, count);
    }
};

struct Rnn {
    static constexpr int gates = 1, kept = 1;
    static constexpr bool has_memory = false;
    static constexpr bool carries = false;

    static void forward(const vec* sums, const ForwardRow& row, int64_t unit, int64_t count) {
        const vec h = tanh(sums[0] + load(row.gates + unit, count));
        store(row.next + unit, h);
        store(row.y + unit, h, count);
        if (row.kept != nullptr) store(row.kept + unit, h, count);
    }

    static void backward(const BackwardRow& row, int64_t unit, int64_t count) {
        const vec h = load(row.kept + unit, count);
        const vec d_h = load(row.d_h + unit) + load(row.d_y + unit, count);
        store(row.d_gates + unit, d_h * (1.0f - h * h), count);
    }
};

} // namespace
} // namespace cellgate
