// The recurrence over rows of uneven length, without Python and without torch.
//
// Legend: B rows, T positions, H hidden units, G gates (lstm and peephole 4, gru 3, rnn 1), N tokens = sum of lengths.
// Tokens lie row by row: token t of row b is number starts[b] + t, so padding has no number and no memory.
// All arrays are float32, row-major and without gaps unless a stride is named; none may overlap another but
// where that is said. Pointers are borrowed for the call. Nothing here throws but std::bad_alloc.
#pragma once

#include <cstdint>

namespace cellgate {

enum class Cell { lstm, gru, rnn, peephole };

constexpr bool has_memory(Cell cell) { return cell == Cell::lstm || cell == Cell::peephole; }

constexpr int gates(Cell cell) { return has_memory(cell) ? 4 : cell == Cell::gru ? 3 : 1; }

// Floats a token keeps for each unit between forward and backward.
// lstm and peephole: i, f, g, o. gru: n, r, z and U_n h + b_h, which n's reset gate multiplies. rnn: y itself, as h.
constexpr int kept_per_unit(Cell cell) { return cell == Cell::rnn ? 1 : 4; }

// Rows of a batch and how long each is.
struct Rows {
    int64_t rows = 0;                 // B
    int64_t steps = 0;                // T
    int64_t hidden = 0;               // H
    const int64_t* lengths = nullptr; // [B], 0 to T
    const int64_t* starts = nullptr;  // [B], number of each row's first token
    bool reverse = false;             // read each row from its own last token to its first
};

struct Forward {
    Cell cell = Cell::lstm;
    Rows batch;
    const float* gates = nullptr;   // [N, G*H] or, with `index`, [any, G*H]: W_x x + b, gate after gate
    const int64_t* index = nullptr; // [B, T] or null: which row of `gates` a position reads
    const float* w_h = nullptr;     // [G*H, H]
    const float* b_h = nullptr;     // [H], gru only; null: zeros
    const float* p = nullptr;       // [3*H], peephole only: of i, f, o
    const float* h_0 = nullptr;     // [B, H]
    const float* c_0 = nullptr;     // [B, H], lstm and peephole
    float* y = nullptr;             // [B, T, H], written whole, zeros past a row's end
    float* h_n = nullptr;           // [B, H]
    float* c_n = nullptr;           // [B, H], lstm and peephole
    // What backward needs; all three null where no gradient is wanted.
    float* kept = nullptr;   // [N, kept_per_unit*H]; may be `gates`, without index, where G is kept_per_unit
    float* cells = nullptr;  // [N, H], lstm and peephole: c_t
    float* before = nullptr; // [N, before_stride], the first H of each: h_{t-1}
    int64_t before_stride = 0;
};

struct Backward {
    Cell cell = Cell::lstm;
    Rows batch;
    const float* kept = nullptr; // as forward left them
    const float* cells = nullptr;
    const float* before = nullptr;
    int64_t before_stride = 0;
    const float* w_h = nullptr;   // [G*H, H]
    const float* p = nullptr;     // [3*H], peephole only
    const float* c_0 = nullptr;   // [B, H], lstm and peephole
    const float* d_y = nullptr;   // [B, T, H]; what stands past a row's end is not read
    const float* d_h_n = nullptr; // [B, H] or null: zeros
    const float* d_c_n = nullptr; // [B, H] or null: zeros; lstm and peephole
    float* d_gates = nullptr;     // [N, kept_per_unit*H]. lstm, peephole: of i, f, g, o. rnn: of its one.
                                  // gru: n, r, z, and n's times r: the first three are those of the input
                                  // part, the last three those of the recurrent part
    float* d_h_0 = nullptr;       // [B, H]
    float* d_c_0 = nullptr;       // [B, H], lstm and peephole
    float* d_p = nullptr;         // [B, 3*H], peephole only: of p by row; added to, so zeros to begin with
};

// out = w_x x + b for a few tokens; for many a matrix product is better.
struct Projection {
    const float* x = nullptr; // [N, stride], the first I of each
    int64_t tokens = 0, stride = 0;
    const float* w_x = nullptr;  // [R, I]
    const float* b = nullptr;    // [R]
    int64_t depth = 0, rows = 0; // I, R
    float* out = nullptr;        // [N, R]
};

// out = left right + bias, for matrices that are large beside a cache. Strides are in floats, any order of axes.
struct Product {
    int64_t rows = 0, depth = 0, columns = 0; // M, K, N
    const float* left = nullptr;              // [M, K]
    int64_t left_row = 0, left_depth = 0;
    const float* right = nullptr; // [K, N]
    int64_t right_depth = 0, right_column = 0;
    const float* bias = nullptr; // [N] or null: zeros
    float* out = nullptr;        // [M, N]
};

// Vector widths this program was built for and this processor has, best first; each runs the same arithmetic.
struct Width {
    const char* name;
    void (*forward)(const Forward&, int threads);
    void (*backward)(const Backward&, int threads);
    void (*project)(const Projection&, int threads);
    void (*multiply)(const Product&, int threads); // same bits for any threads
};

// How many there are; always at least one, the last is "plain".
int widths(const Width** list);

// Those that round the factors of products to bfloat16, the first 16 bits of a float, and add in float32, best first;
// their `project` rounds nothing. None where this processor has no instructions for it, or Linux does not lend them.
int rounding_widths(const Width** list);

// Whether `multiply` of the best width is quicker here than what torch links for it.
bool own_products();

// Copy tokens between a padded tensor [B, T, D] with strides (in floats) and rows [N, stride] without padding.
struct Tokens {
    Rows batch;             // hidden and reverse are not read
    int64_t depth = 0;      // D
    int64_t row_stride = 0; // of the padded tensor
    int64_t step_stride = 0;
    int64_t stride = 0; // of the tokens
};
void gather(const Tokens& tokens, const float* padded, float* rows, int threads);
void scatter(const Tokens& tokens, const float* rows, float* padded, int threads); // zeros past a row's end

// sums[index[token]] += the first D of tokens[token]; sums [any, D] must be zeroed. Same bits for any threads.
struct Sum {
    Rows batch;
    const int64_t* index;  // [B, T]
    const float* tokens;   // [N, stride]
    int64_t stride, depth; // in floats
    float* sums;
};
void sum_by_index(const Sum& sum, int threads);

} // namespace cellgate
