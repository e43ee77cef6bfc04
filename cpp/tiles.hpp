// The steps' product in the tile registers of some of Intel's processors (AMX), in place of products.hpp: factors are
// bfloat16, the first 16 bits of a float, sums are of float32. A tile holds 16 rows of 64 bytes.
#pragma once

#include <immintrin.h>

#include "memory.hpp"
#include "vec.hpp"

namespace cellgate {
namespace {

constexpr int64_t DEEP = 32;  // factors of a sum that one instruction takes
constexpr int64_t FULL = 512; // factors of a tile: of the left matrix [16][DEEP], of the right [DEEP / 2][16][2]
static_assert(LANES == 16 && BLOCK == 16, "a tile has 16 rows, each a vector");

constexpr int64_t chunks(int64_t depth) { return (depth + DEEP - 1) / DEEP; }

// How many blocks of rows a panel of weights is read for by one thread. 0: all of them by all threads, each with its
// share of the units: weights that do not stay in a core's cache take longer to read than to multiply.
constexpr int64_t blocks_together(int64_t hidden) { return hidden <= 384 ? 1 : 0; }

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

constexpr int64_t panel_floats(int64_t gates, int64_t hidden, int64_t vectors) {
    return gates * chunks(hidden) * vectors * FULL / 2;
}

// w_h [G*H, H] -> [chunk of H][gate] tiles for the units of one panel; what is past H are zeros.
template <int G> void pack_forward(const float* w_h, int64_t hidden, int64_t panel, float* memory) {
    const int64_t first = panel * LANES, count = std::min<int64_t>(LANES, hidden - first);
    auto* to = reinterpret_cast<uint32_t*>(memory); // pairs of factors
    for (int64_t chunk = 0; chunk < chunks(hidden); chunk++)
        for (int g = 0; g < G; g++, to += FULL / 2)
            for (int64_t u = 0; u < LANES; u++) {
                uint32_t pairs[DEEP / 2] = {};
                for (int64_t k = chunk * DEEP; u < count && k < std::min((chunk + 1) * DEEP, hidden); k += LANES)
                    store_rounded(pairs + k % DEEP / 2, load(w_h + (g * hidden + first + u) * hidden + k, hidden - k));
                for (int64_t pair = 0; pair < DEEP / 2; pair++) to[pair * LANES + u] = pairs[pair];
            }
}

// w_h [G*H, H] -> [gate][chunk of H][V] tiles for units [first, first + V * LANES); what is past H are zeros.
inline void pack_backward(const float* w_h, int64_t gates, int64_t hidden, int64_t first, int64_t vectors,
                          float* memory) {
    auto* to = reinterpret_cast<uint16_t*>(memory);
    for (int64_t g = 0; g < gates; g++)
        for (int64_t chunk = 0; chunk < chunks(hidden); chunk++)
            for (int64_t unit = first; unit < first + vectors * LANES; unit += LANES)
                for (int64_t k = chunk * DEEP; k < (chunk + 1) * DEEP; k += 2, to += 2 * LANES) {
                    const float* from = w_h + (g * hidden + k) * hidden + unit;
                    const vec one = k < hidden ? load(from, hidden - unit) : vec{};
                    const vec other = k + 1 < hidden ? load(from + hidden, hidden - unit) : vec{};
                    const ints low = __builtin_convertvector(rounded(one), ints);
                    const ints high = __builtin_convertvector(rounded(other), ints);
                    const ints pairs = low | high << 16;
                    std::memcpy(to, &pairs, sizeof pairs);
                }
}

// As in products.hpp; what stands left is what was put.
template <int V, class Row, class Take>
void product(const Left& rows_left, int first, int rows, const float* weights, int64_t, Row&&, Take&& take) {
    static_assert(V >= 1 && V <= 4);
    const uint16_t* left = rows_left.block(first);
    auto* right = reinterpret_cast<const uint16_t*>(weights);
    vec sums[BLOCK][V];
    __asm__ volatile("" ::: "memory"); // the compiler does not see what tiles are loaded from
    _tile_zero(0);
    if constexpr (V > 1) _tile_zero(1);
    if constexpr (V > 2) _tile_zero(2);
    if constexpr (V > 3) _tile_zero(3);
    for (int64_t tile = rows_left.tiles(); tile > 0; tile--, left += FULL, right += V * FULL) {
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
    for (int r = 0; r < rows; r++) take(first + r, sums[r]);
}

} // namespace
} // namespace cellgate
