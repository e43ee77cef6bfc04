// The recurrence for one vector width. Included by lanes_plain.cpp, lanes_avx2.cpp and lanes_avx512.cpp with
//   LANES    floats in a vector
//   BLOCK    rows whose gates are computed at once: BLOCK * 4 sums, 4 weights and a factor fill the registers
// docs/kernel.md says why it is laid out like this.
#pragma once

#include "backward.hpp"
#include "forward.hpp"
#include "matrix.hpp"

namespace cellgate {
namespace {

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

void forward_any(const Forward& call, int threads) {
    switch (call.cell) {
    case Cell::lstm: return forward<Lstm>(call, threads);
    case Cell::gru: return forward<Gru>(call, threads);
    case Cell::rnn: return forward<Rnn>(call, threads);
    case Cell::peephole: return forward<Peephole>(call, threads);
    }
}

void backward_any(const Backward& call, int threads) {
    switch (call.cell) {
    case Cell::lstm: return backward<Lstm>(call, threads);
    case Cell::gru: return backward<Gru>(call, threads);
    case Cell::rnn: return backward<Rnn>(call, threads);
    case Cell::peephole: return backward<Peephole>(call, threads);
    }
}

} // namespace
} // namespace cellgate
