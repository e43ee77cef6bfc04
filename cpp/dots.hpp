// A few dot products. Included once for each vector width.
#pragma once

#include "vec.hpp"

namespace cellgate {
namespace {

// out[i] = rows[i] . x for `count` rows of length depth, one after the other in memory.
template <int R> inline void dots(const float* rows, const float* x, int64_t depth, float* out) {
    vec sums[R] = {};
    int64_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        const vec right = load(x + k);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) sums[r] += load(rows + r * depth + k) * right;
    }
    if (k < depth)
        for (int r = 0; r < R; r++) sums[r] += load(rows + r * depth + k, depth - k) * load(x + k, depth - k);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) out[r] = total(sums[r]);
}

inline void dots(const float* rows, int64_t count, const float* x, int64_t depth, float* out) {
    for (; count >= 4; count -= 4, rows += 4 * depth, out += 4) dots<4>(rows, x, depth, out);
    for (; count > 0; count--, rows += depth, out++) dots<1>(rows, x, depth, out);
}

} // namespace
} // namespace cellgate
