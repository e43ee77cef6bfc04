// Tiles of bfloat16 are multiplied in the tile registers of some of Intel's processors (AMX).
#pragma once

#include <algorithm>
#include <immintrin.h>

#include "tile.hpp"

namespace cellgate {
namespace {

// How many blocks of rows a panel of weights is read for by one thread. 0: all of them by all threads, each with its
// share of the units: weights that do not stay in a core's cache take longer to read than to multiply.
constexpr int64_t blocks_together(int64_t hidden) { return hidden <= 384 ? 1 : 0; }

// The tile registers, for as long as it lives: 0 to 4 of at most so many rows, 5 to 7 of 16.
class Registers {
  public:
    explicit Registers(int rows) {
        alignas(64) struct {
            uint8_t palette = 1, first_row = 0, reserved[14] = {};
            uint16_t bytes[16] = {};
            uint8_t rows[16] = {};
        } layout;
        for (int tile = 0; tile < 8; tile++) {
            layout.bytes[tile] = 64;
            layout.rows[tile] = static_cast<uint8_t>(tile < 5 ? std::min(rows, BLOCK) : BLOCK);
        }
        _tile_loadconfig(&layout);
    }
    ~Registers() { _tile_release(); }
    Registers(const Registers&) = delete;
    Registers& operator=(const Registers&) = delete;
};

// sums [16][V] = `tiles` tiles of the left matrix, times [tile][V] of the right one. Rows from `rows` on may be
// anything.
template <int V>
void multiply_block(const uint16_t* left, const uint16_t* right, int64_t tiles, int, vec (&sums)[BLOCK][V]) {
    static_assert(V >= 1 && V <= 4);
    __asm__ volatile("" ::: "memory"); // the compiler does not see what tiles are loaded from
    _tile_zero(0);
    if constexpr (V > 1) _tile_zero(1);
    if constexpr (V > 2) _tile_zero(2);
    if constexpr (V > 3) _tile_zero(3);
    for (; tiles > 0; tiles--, left += FULL, right += V * FULL) {
        _tile_loadd(4, left, 64);
        _tile_loadd(5, right, 64);
        _tile_dpbf16ps(0, 4, 5);
        if constexpr (V > 1) {
            _tile_loadd(6, right + FULL, 64);
            _tile_dpbf16ps(1, 4, 6);
        }
        if constexpr (V > 2) {
            _tile_loadd(7, right + 2 * FULL, 64);
            _tile_dpbf16ps(2, 4, 7);
        }
        if constexpr (V > 3) {
            _tile_loadd(5, right + 3 * FULL, 64);
            _tile_dpbf16ps(3, 4, 5);
        }
    }
    _tile_stored(0, &sums[0][0], sizeof sums[0]);
    if constexpr (V > 1) _tile_stored(1, &sums[0][1], sizeof sums[0]);
    if constexpr (V > 2) _tile_stored(2, &sums[0][2], sizeof sums[0]);
    if constexpr (V > 3) _tile_stored(3, &sums[0][3], sizeof sums[0]);
}

// out [32][32], rows `stride` floats apart = bias [32] + [2][tile] tiles of the left matrix times [tile][2] of the
// right.
inline void multiply_square(const uint16_t* left, const uint16_t* right, int64_t tiles, const float* bias, float* out,
                            int64_t stride) {
    __asm__ volatile("" ::: "memory");
    _tile_loadd(0, bias, 0); // every row of a tile is the same one
    _tile_loadd(1, bias + LANES, 0);
    _tile_loadd(2, bias, 0);
    _tile_loadd(3, bias + LANES, 0);
    const uint16_t* below = left + tiles * FULL;
    for (int64_t tile = 0; tile < tiles; tile++, left += FULL, below += FULL, right += 2 * FULL) {
        _tile_loadd(4, left, 64);
        _tile_loadd(5, right, 64);
        _tile_dpbf16ps(0, 4, 5);
        _tile_loadd(6, right + FULL, 64);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(7, below, 64);
        _tile_dpbf16ps(2, 7, 5);
        _tile_dpbf16ps(3, 7, 6);
    }
    const int64_t bytes = stride * static_cast<int64_t>(sizeof(float));
    _tile_stored(0, out, bytes);
    _tile_stored(1, out + LANES, bytes);
    _tile_stored(2, out + BLOCK * stride, bytes);
    _tile_stored(3, out + BLOCK * stride + LANES, bytes);
}

} // namespace
} // namespace cellgate
