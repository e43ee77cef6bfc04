// Moving tokens: in and out of padding, and onto the rows of a table. No vector width matters for it.
#include <algorithm>
#include <cstring>

#include "recurrence.hpp"
#include "threads.hpp"

namespace cellgate {
namespace {

constexpr int64_t least_shared = 16 * 1024; // copying less is quicker than waking a thread

int copiers(const Tokens& tokens, int threads) {
    return tokens.batch.rows * tokens.batch.steps * tokens.depth < least_shared ? 1 : threads;
}

} // namespace

void gather(const Tokens& tokens, const float* padded, float* rows, int threads) {
    parallel(copiers(tokens, threads), static_cast<int>(tokens.batch.rows), [&](int b) {
        const float* from = padded + b * tokens.row_stride;
        float* to = rows + tokens.batch.starts[b] * tokens.stride;
        for (int64_t t = 0; t < tokens.batch.lengths[b]; t++, from += tokens.step_stride, to += tokens.stride)
            std::memcpy(to, from, static_cast<std::size_t>(tokens.depth) * sizeof(float));
    });
}

void scatter(const Tokens& tokens, const float* rows, float* padded, int threads) {
    parallel(copiers(tokens, threads), static_cast<int>(tokens.batch.rows), [&](int b) {
        const std::size_t bytes = static_cast<std::size_t>(tokens.depth) * sizeof(float);
        const float* from = rows + tokens.batch.starts[b] * tokens.stride;
        float* to = padded + b * tokens.row_stride;
        for (int64_t t = 0; t < tokens.batch.steps; t++, from += tokens.stride, to += tokens.step_stride)
            if (t < tokens.batch.lengths[b])
                std::memcpy(to, from, bytes);
            else
                std::memset(to, 0, bytes);
    });
}

void sum_by_index(const Sum& sum, int threads) {
    constexpr int64_t columns = 64; // of one part: threads share no sum, so the order of additions is always the same
    const Rows& batch = sum.batch;
    const int parts = static_cast<int>((sum.depth + columns - 1) / columns);
    parallel(batch.rows * batch.steps * sum.depth < least_shared ? 1 : threads, parts, [&](int part) {
        const int64_t first = part * columns, count = std::min(columns, sum.depth - first);
        for (int64_t b = 0; b < batch.rows; b++) {
            const float* from = sum.tokens + batch.starts[b] * sum.stride + first;
            for (int64_t t = 0; t < batch.lengths[b]; t++, from += sum.stride) {
                float* to = sum.sums + sum.index[b * batch.steps + t] * sum.depth + first;
                for (int64_t k = 0; k < count; k++) to[k] += from[k];
            }
        }
    });
}

} // namespace cellgate
