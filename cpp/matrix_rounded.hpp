// Products of matrices: what matrix.hpp has, with factors rounded to bfloat16.
#pragma once

#include "groups.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

constexpr int64_t WIDE_COLUMNS = 2 * LANES; // columns of a panel of the right matrix, and rows of a block of the left
constexpr int64_t PART = 4 * WIDE_COLUMNS;  // rows of the left matrix that are packed together, at most

thread_local Arena right_arena, left_arena;

// The sums of two by two tiles: rows [row, row + 32) of a part, columns [column, column + 32).
inline void tile_block(const Product& p, const uint16_t* left, const uint16_t* right, int64_t tiles, int64_t row,
                       int64_t column) {
    alignas(64) float bias[WIDE_COLUMNS] = {}, sums[WIDE_COLUMNS][WIDE_COLUMNS];
    const int64_t rows = std::min(WIDE_COLUMNS, p.rows - row), columns = std::min(WIDE_COLUMNS, p.columns - column);
    if (p.bias != nullptr) copy_floats(bias, p.bias + column, columns);
    float* out = p.out + row * p.columns + column;
    if (rows == WIDE_COLUMNS && columns == WIDE_COLUMNS)
        return multiply_square(left, right, tiles, bias, out, p.columns);
    multiply_square(left, right, tiles, bias, sums[0], WIDE_COLUMNS);
    for (int64_t r = 0; r < rows; r++) copy_floats(out + r * p.columns, sums[r], columns);
}

// Right: [panel of 32 columns][chunk][2] tiles; left, of a part: [row / 16][chunk] tiles.
void multiply_rounded(const Product& p, int threads) {
    if (p.rows == 0 || p.columns == 0) return;
    const int64_t tiles = chunks(p.depth), panels = (p.columns + WIDE_COLUMNS - 1) / WIDE_COLUMNS;
    auto* right = reinterpret_cast<uint16_t*>(right_arena.reserve(panels * tiles * FULL));
    const bool much = p.columns * p.depth > alone_floats;
    parallel(much ? threads : 1, static_cast<int>(panels), [&](int panel) {
        uint16_t* to = right + panel * tiles * 2 * FULL;
        for (int64_t tile = 0; tile < tiles; tile++)
            for (int64_t half = 0; half < 2; half++, to += FULL) {
                const int64_t column = panel * WIDE_COLUMNS + half * LANES, k = tile * DEEP;
                const float* from = p.right + column * p.right_column + k * p.right_depth;
                pack_tile(from, p.right_column, p.right_depth, p.columns - column, p.depth - k, true, to);
            }
    });
    if (p.rows * p.columns < alone_floats / 4) threads = 1;
    const int64_t blocks = (p.rows + WIDE_COLUMNS - 1) / WIDE_COLUMNS;
    const int64_t parts = std::min(blocks, up((p.rows + PART - 1) / PART, threads));
    parallel(threads, static_cast<int>(parts), [&](int part) {
        const int64_t first = blocks * part / parts * WIDE_COLUMNS,
                      last = std::min(blocks * (part + 1) / parts * WIDE_COLUMNS, p.rows);
        auto* left = reinterpret_cast<uint16_t*>(left_arena.reserve(up(last - first, WIDE_COLUMNS) * tiles * DEEP / 2));
        for (int64_t row = first; row < up(last, WIDE_COLUMNS); row += BLOCK)
            for (int64_t tile = 0; tile < tiles; tile++) {
                const float* from = p.left + row * p.left_row + tile * DEEP * p.left_depth;
                uint16_t* to = left + ((row - first) / BLOCK * tiles + tile) * FULL;
                pack_tile(from, p.left_row, p.left_depth, last - row, p.depth - tile * DEEP, false, to);
            }
        const Registers registers(BLOCK);
        for (int64_t panel = 0; panel < panels; panel++)
            for (int64_t row = first; row < last; row += WIDE_COLUMNS)
                tile_block(p, left + (row - first) / BLOCK * tiles * FULL, right + panel * tiles * 2 * FULL, tiles, row,
                           panel * WIDE_COLUMNS);
    });
}

} // namespace
} // namespace cellgate
