// Products of matrices outside the steps. Included once for each vector width.
#pragma once

#include "dots.hpp"
#include "groups.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

constexpr int64_t DEPTH = 256;       // of a block: a panel of the right matrix, DEPTH by PANEL, stays in cache
constexpr int64_t PANEL = 4 * LANES; // columns whose sums stand in registers
constexpr int64_t ROWS = 24 * BLOCK; // of a part, at most or nearly: they stay in a core's cache

thread_local Arena right_arena, left_arena;

// Columns [first, first + PANEL) of the right matrix -> [depth][width], width their number made whole vectors.
inline void pack_right(const Product& p, int64_t first, float* to) {
    const int64_t count = std::min(PANEL, p.columns - first), width = up(count, LANES);
    for (int64_t k = 0; k < p.depth; k++) {
        const float* from = p.right + k * p.right_depth + first * p.right_column;
        float* out = to + k * width;
        if (p.right_column == 1)
            copy_floats(out, from, count);
        else
            for (int64_t c = 0; c < count; c++) out[c] = from[c * p.right_column];
        zero_floats(out + count, width - count);
    }
}

// Rows [first, first + rows) of a left matrix that lies column by column -> blocks of BLOCK rows, each [depth][BLOCK].
inline void pack_left(const Product& p, int64_t first, int64_t rows, int64_t k, int64_t depth, float* to) {
    const float* from = p.left + first * p.left_row + k * p.left_depth;
    for (int64_t d = 0; d < depth; d++, from += p.left_depth) {
        if (p.left_row == 1) // what no hardware prefetcher follows: the next rows lie a page away
            for (int64_t row = 0; row < rows; row += 16) __builtin_prefetch(from + row + 8 * p.left_depth);
        for (int64_t row = 0; row < rows; row += BLOCK)
            if (p.left_row == 1 && row + BLOCK <= rows)
                std::memcpy(to + row * depth + d * BLOCK, from + row, BLOCK * sizeof(float));
            else
                for (int64_t r = row; r < std::min<int64_t>(row + BLOCK, rows); r++)
                    to[row * depth + d * BLOCK + r - row] = from[r * p.left_row];
    }
}

template <int STEP, int R, int V>
inline void tile(const float* left, int64_t left_row, const float* right, int64_t depth, const float* bias, bool begun,
                 float* out, int64_t stride, int64_t columns) {
    const float* rows[R];
    vec sums[R][V];
    for (int r = 0; r < R; r++) {
        rows[r] = left + r * left_row;
        for (int v = 0; v < V; v++) {
            const int64_t at = v * LANES, count = columns - at;
            sums[r][v] = begun ? load(out + r * stride + at, count) : bias != nullptr ? load(bias + at, count) : vec{};
        }
    }
    multiply<STEP>(rows, right, depth, sums);
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) store(out + r * stride + v * LANES, sums[r][v], columns - v * LANES);
}

// A part: rows [first, first + rows) of the answer. Sums are added in the order of depth, whatever the parts.
inline void product_rows(const Product& p, const float* packed, int64_t first, int64_t rows) {
    const bool as_it_is = p.left_depth == 1;
    int64_t k = 0;
    do { // once at least: of no depth, the answer is the bias
        const int64_t depth = std::min(DEPTH, p.depth - k);
        float* memory = nullptr;
        if (!as_it_is) {
            memory = left_arena.reserve(up(rows, BLOCK) * depth);
            pack_left(p, first, rows, k, depth, memory);
        }
        for (int64_t column = 0; column < p.columns; column += PANEL) {
            const int64_t columns = std::min(PANEL, p.columns - column), width = up(columns, LANES);
            const float* right = packed + column * p.depth + k * width;
            const float* bias = p.bias == nullptr ? nullptr : p.bias + column;
            for (int64_t row = 0; row < rows; row += BLOCK) {
                const float* left = as_it_is ? p.left + (first + row) * p.left_row + k : memory + row * depth;
                float* out = p.out + (first + row) * p.columns + column;
                const auto block = [&](auto n, auto v) {
                    constexpr int R = decltype(n)::value, V = decltype(v)::value;
                    if (as_it_is)
                        tile<1, R, V>(left, p.left_row, right, depth, bias, k > 0, out, p.columns, columns);
                    else
                        tile<BLOCK, R, V>(left, 1, right, depth, bias, k > 0, out, p.columns, columns);
                };
                with_rows(static_cast<int>(std::min<int64_t>(BLOCK, rows - row)), [&](auto n) {
                    switch (width / LANES) {
                    case 1: return block(n, std::integral_constant<int, 1>());
                    case 2: return block(n, std::integral_constant<int, 2>());
                    case 3: return block(n, std::integral_constant<int, 3>());
                    default: return block(n, std::integral_constant<int, 4>());
                    }
                });
            }
        }
        k += DEPTH;
    } while (k < p.depth);
}

void project_any(const Projection& p, int threads) {
    constexpr int64_t rows = 64; // of one part
    const int parts = static_cast<int>((p.rows + rows - 1) / rows);
    parallel(p.rows * p.depth < alone_floats ? 1 : threads, parts, [&](int part) {
        const int64_t first = part * rows, count = std::min(rows, p.rows - first);
        for (int64_t n = 0; n < p.tokens; n++) {
            float* out = p.out + n * p.rows + first;
            dots(p.w_x + first * p.depth, count, p.x + n * p.stride, p.depth, out);
            for (int64_t i = 0; i < count; i++) out[i] += p.b[first + i];
        }
    });
}

void multiply_any(const Product& p, int threads) {
    if (p.rows == 0 || p.columns == 0) return;
    const int64_t panels = (p.columns + PANEL - 1) / PANEL;
    float* packed = right_arena.reserve(up(p.columns, LANES) * p.depth);
    const bool much = p.columns * p.depth > alone_floats;
    parallel(much ? threads : 1, static_cast<int>(panels),
             [&](int i) { pack_right(p, i * PANEL, packed + i * PANEL * p.depth); });
    if (p.rows * p.columns < alone_floats / 4) threads = 1;
    // As many rows for each thread, in whole blocks.
    const int64_t wanted = up((p.rows + ROWS - 1) / ROWS, threads);
    const int64_t rows = up((p.rows + wanted - 1) / wanted, BLOCK), parts = (p.rows + rows - 1) / rows;
    parallel(threads, static_cast<int>(parts),
             [&](int part) { product_rows(p, packed, part * rows, std::min(rows, p.rows - part * rows)); });
}

} // namespace
} // namespace cellgate
