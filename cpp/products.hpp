// Products of a block of rows in float32, their sums in registers. Included once for each vector width. What stands
// below "The steps' product" rounded.hpp has too, for rounded factors.
#pragma once

#include <type_traits>
#include <utility>

#include "memory.hpp"
#include "vec.hpp"

namespace cellgate {
namespace {

// sums[r][v] += left[r][k * STEP] * right[k][v] over k in [0, depth), all sums in registers.
template <int STEP = 1, int R, int V>
inline void multiply(const float* const (&left)[R], const float* right, int64_t depth, vec (&sums)[R][V]) {
    vec held[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) held[r][v] = sums[r][v];
    for (int64_t k = 0; k < depth; k++, right += V * LANES) {
        vec w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) w[v] = load(right + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const float factor = left[r][k * STEP];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) held[r][v] += factor * w[v];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sums[r][v] = held[r][v];
}

// Call work(std::integral_constant<int, rows>) for rows in 1..BLOCK.
template <int R = BLOCK, class Work> inline void with_rows(int rows, Work&& work) {
    if (rows == R) return work(std::integral_constant<int, R>());
    if constexpr (R > 1) with_rows<R - 1>(rows, std::forward<Work>(work));
}

// ---- The steps' product: left [rows, G*H] by weights [G*H, units], or left [rows, H] by [H, G*units]

// Weights that do not stay in a core's cache are read once for several blocks of rows: for so many.
constexpr int64_t blocks_together(int64_t hidden) { return hidden <= 192 ? 1 : hidden <= 320 ? 3 : 8; }

constexpr int64_t STEPS_UNPACKED = 3; // of blocks, for which weights are read as they are

// Run block(first, rows) over `active` rows in even blocks of at most BLOCK.
template <class Work> void in_blocks(int active, Work&& block) {
    const int count = (active + BLOCK - 1) / BLOCK;
    for (int i = 0; i < count; i++) {
        const int first = active * i / count;
        block(first, active * (i + 1) / count - first);
    }
}

// Rows that stand left of the weights; floats are read where they are.
class Left {
  public:
    Left(float*, int64_t, int64_t, int64_t) {}
    static int64_t memory(int64_t, int64_t, int64_t) { return 0; }
    void put(int64_t, int64_t, int64_t, const float*) {}
};

// Registers for products of at most so many rows: these need no making.
struct Registers {
    explicit Registers(int) {}
};

// Floats of weights that meet V vectors of units: of w_h [G*H, H] or its transpose.
constexpr int64_t panel_floats(int64_t gates, int64_t hidden, int64_t vectors) {
    return gates * hidden * vectors * LANES;
}

// w_h [G*H, H] -> [k][gate][LANES] for the units of one panel; units past H are zeros.
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

// w_h [G*H, H] -> [k][V * LANES] for units [first, first + V * LANES); units past H are zeros.
inline void pack_backward(const float* w_h, int64_t gates, int64_t hidden, int64_t first, int64_t vectors, float* to) {
    const int64_t width = vectors * LANES, count = std::min(width, hidden - first);
    for (int64_t k = 0; k < gates * hidden; k++) {
        copy_floats(to + k * width, w_h + k * hidden + first, count);
        zero_floats(to + k * width + count, width - count);
    }
}

// Call take(row, sums) with the V vectors of sums of each row of a block, row(r) [depth] by weights [depth, V].
template <int V, class Row, class Take>
void product(const Left&, int first, int rows, const float* weights, int64_t depth, Row&& row, Take&& take) {
    with_rows(rows, [&](auto n) {
        constexpr int R = decltype(n)::value;
        const float* left[R];
        vec sums[R][V] = {};
        for (int r = 0; r < R; r++) left[r] = row(first + r);
        multiply(left, weights, depth, sums);
        for (int r = 0; r < R; r++) take(first + r, sums[r]);
    });
}

} // namespace
} // namespace cellgate
