// The steps' product with factors rounded to bfloat16, the first 16 bits of a float, and sums of float32, in place of
// products.hpp. Factors stand in tiles, 16 rows of 64 bytes; tiles.hpp or pairs.hpp, included before, multiplies them.
#pragma once

#include <algorithm>
#include <immintrin.h>

#include "memory.hpp"
#include "tile.hpp"
#include "vec.hpp"

namespace cellgate {
namespace {

constexpr int64_t chunks(int64_t depth) { return (depth + DEEP - 1) / DEEP; }

constexpr int64_t STEPS_UNPACKED = 0;

template <class Work> void in_blocks(int active, Work&& block) {
    for (int first = 0; first < active; first += BLOCK) block(first, std::min(BLOCK, active - first));
}

typedef uint16_t halves __attribute__((vector_size(LANES * 2)));

// To the nearest, of two the even one; NaN stays NaN.
inline halves rounded(vec from) { return (halves)_mm512_cvtneps_pbh((__m512)from); }

inline void store_rounded(void* to, vec from) {
    const halves value = rounded(from);
    std::memcpy(to, &value, sizeof value);
}

// Two rows of factors, each of LANES, as pairs.
inline ints paired(vec one, vec other) {
    return __builtin_convertvector(rounded(one), ints) | __builtin_convertvector(rounded(other), ints) << 16;
}

// Sixteen vectors, their rows made columns: what stands in vector i, place j comes to vector j, place i. Each round
// interleaves halves, which turns the eight bits of (i, j) by one.
inline void turn(ints (&rows)[16]) {
    for (int round = 0; round < 4; round++) {
        ints next[16];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            const ints one = rows[i], other = rows[i + 8];
            next[2 * i] = __builtin_shufflevector(one, other, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            next[2 * i + 1] =
                __builtin_shufflevector(one, other, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        std::memcpy(rows, next, sizeof rows);
    }
}

// Of a matrix with strides: up to 16 lines of up to DEEP factors, line i's factor k at from[i * line + k * along]; the
// lines' pairs of factors -> [line][pair], or turned [pair][line]. Zeros where the matrix ends.
inline void pack_tile(const float* from, int64_t line, int64_t along, int64_t lines, int64_t depth, bool turned,
                      uint16_t* to) {
    ints pairs[16] = {};
    bool by_line = true;
    if (along == 1) {
        for (int64_t i = 0; i < std::min<int64_t>(lines, 16); i++)
            for (int64_t half = 0; half < 2 && half * LANES < depth; half++)
                store_rounded(reinterpret_cast<uint16_t*>(&pairs[i]) + half * LANES,
                              load(from + i * line + half * LANES, depth - half * LANES));
    } else if (line == 1) {
        by_line = false;
        for (int64_t pair = 0; pair < 16 && 2 * pair < depth; pair++) {
            const float* one = from + 2 * pair * along;
            pairs[pair] = paired(load(one, lines), 2 * pair + 1 < depth ? load(one + along, lines) : vec{});
        }
    } else {
        for (int64_t i = 0; i < std::min<int64_t>(lines, 16); i++)
            for (int64_t half = 0; half < 2; half++) {
                vec factors = {};
                for (int64_t k = half * LANES; k < std::min(depth, (half + 1) * LANES); k++)
                    factors[k % LANES] = from[i * line + k * along];
                store_rounded(reinterpret_cast<uint16_t*>(&pairs[i]) + half * LANES, factors);
            }
    }
    if (by_line == turned) turn(pairs);
    std::memcpy(to, pairs, sizeof pairs);
}

// Rows that stand left of the weights, rounded, [row / 16][gate][chunk of H] tiles. Zeros where nothing is put.
class Left {
  public:
    Left(float* memory, int64_t rows, int64_t gates, int64_t hidden)
        : tiles_(reinterpret_cast<uint16_t*>(memory)), hidden_(hidden), stride_(gates * chunks(hidden) * FULL) {
        zero_floats(memory, Left::memory(rows, gates, hidden));
    }

    static int64_t memory(int64_t rows, int64_t gates, int64_t hidden) {
        return up(rows, BLOCK) / BLOCK * gates * chunks(hidden) * FULL / 2;
    }

    // LANES units of a row's gate, at most H in all.
    void put(int64_t row, int64_t gate, int64_t unit, const float* from) {
        const int64_t tile = gate * chunks(hidden_) + unit / DEEP;
        uint16_t* to = tiles_ + row / BLOCK * stride_ + tile * FULL + row % BLOCK * DEEP + unit % DEEP;
        store_rounded(to, load(from, hidden_ - unit));
    }

    const uint16_t* block(int64_t first) const { return tiles_ + first / BLOCK * stride_; }
    int64_t tiles() const { return stride_ / FULL; }

  private:
    uint16_t* tiles_;
    int64_t hidden_, stride_;
};

constexpr int64_t panel_floats(int64_t gates, int64_t hidden, int64_t vectors) {
    return gates * chunks(hidden) * vectors * FULL / 2;
}

// w_h [G*H, H] -> [chunk of H][gate] tiles for the units of one panel; what is past H are zeros.
template <int G> void pack_forward(const float* w_h, int64_t hidden, int64_t panel, float* memory) {
    const int64_t first = panel * LANES;
    auto* to = reinterpret_cast<uint16_t*>(memory);
    for (int64_t k = 0; k < hidden; k += DEEP)
        for (int g = 0; g < G; g++, to += FULL)
            pack_tile(w_h + (g * hidden + first) * hidden + k, hidden, 1, hidden - first, hidden - k, true, to);
}

// w_h [G*H, H] -> [gate][chunk of H][V] tiles for units [first, first + V * LANES); what is past H are zeros.
inline void pack_backward(const float* w_h, int64_t gates, int64_t hidden, int64_t first, int64_t vectors,
                          float* memory) {
    auto* to = reinterpret_cast<uint16_t*>(memory);
    for (int64_t g = 0; g < gates; g++)
        for (int64_t k = 0; k < hidden; k += DEEP)
            for (int64_t unit = first; unit < first + vectors * LANES; unit += LANES, to += FULL)
                pack_tile(w_h + (g * hidden + k) * hidden + unit, 1, hidden, hidden - unit, hidden - k, true, to);
}

// As in products.hpp; what stands left is what was put.
template <int V, class Row, class Take>
void product(const Left& rows_left, int first, int rows, const float* weights, int64_t, Row&&, Take&& take) {
    vec sums[BLOCK][V];
    multiply_block<V>(rows_left.block(first), reinterpret_cast<const uint16_t*>(weights), rows_left.tiles(), rows,
                      sums);
    for (int r = 0; r < rows; r++) take(first + r, sums[r]);
}

} // namespace
} // namespace cellgate
