// Tiles of bfloat16 are multiplied in vector registers, pairs of factors at a time (AVX-512 BF16).
#pragma once

#include <immintrin.h>

#include "tile.hpp"

namespace cellgate {
namespace {

// How many blocks of rows a panel of weights is read for by one thread: more do not make it quicker.
constexpr int64_t blocks_together(int64_t) { return 1; }

// Registers for products of at most so many rows: these need no making.
struct Registers {
    explicit Registers(int) {}
};

// sums [R][V] += [tile][16][DEEP] of the left matrix, R rows of each, times [tile][V] tiles of the right one.
template <int R, int V>
inline void add_pairs(const uint16_t* left, const uint16_t* right, int64_t tiles, vec (&sums)[R][V]) {
    for (; tiles > 0; tiles--, left += FULL, right += V * FULL)
        for (int64_t pair = 0; pair < DEEP / 2; pair++) {
            __m512bh factors[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) factors[v] = (__m512bh)_mm512_load_si512(right + v * FULL + pair * 2 * LANES);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) {
                int32_t both;
                std::memcpy(&both, left + r * DEEP + 2 * pair, sizeof both);
                const __m512bh row = (__m512bh)_mm512_set1_epi32(both);
#pragma GCC unroll 4
                for (int v = 0; v < V; v++) sums[r][v] = (vec)_mm512_dpbf16_ps((__m512)sums[r][v], factors[v], row);
            }
        }
}

// sums [16][V] = `tiles` tiles of the left matrix, times [tile][V] of the right one. Rows from `rows` on may be
// anything.
template <int V>
void multiply_block(const uint16_t* left, const uint16_t* right, int64_t tiles, int rows, vec (&sums)[BLOCK][V]) {
    constexpr int R = V > 2 ? 4 : 8; // 8 to 16 sums in registers: an instruction takes some 6 cycles
    for (int row = 0; row < rows; row += R) {
        vec some[R][V] = {};
        add_pairs<R, V>(left + row * DEEP, right, tiles, some);
        std::memcpy(sums[row], some, sizeof some);
    }
}

// out [32][32], rows `stride` floats apart = bias [32] + [2][tile] tiles of the left matrix times [tile][2] of the
// right.
inline void multiply_square(const uint16_t* left, const uint16_t* right, int64_t tiles, const float* bias, float* out,
                            int64_t stride) {
    constexpr int R = 8;
    for (int64_t half = 0; half < 2; half++, left += tiles * FULL)
        for (int64_t row = 0; row < BLOCK; row += R, out += R * stride) {
            vec sums[R][2];
            for (auto& sum : sums) sum[0] = load(bias), sum[1] = load(bias + LANES);
            add_pairs<R, 2>(left + row * DEEP, right, tiles, sums);
            for (int r = 0; r < R; r++) {
                store(out + r * stride, sums[r][0]);
                store(out + r * stride + LANES, sums[r][1]);
            }
        }
}

} // namespace
} // namespace cellgate
