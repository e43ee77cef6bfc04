// Vectors of LANES floats by the compiler's vector types, and the two functions a gate needs.
// Included once for each vector width, so everything is in an unnamed namespace.
#pragma once

#include <cstdint>
#include <cstring>

#ifndef LANES
#error "define LANES, the floats in a vector, before including this"
#endif

namespace cellgate {
namespace {

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef uint32_t ints __attribute__((vector_size(LANES * 4)));

inline vec load(const float* from) {
    vec value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

inline void store(float* to, vec value) { std::memcpy(to, &value, sizeof value); }

// The first `count` of LANES; what is beyond is zero, or left as it was.
inline vec load(const float* from, int64_t count) {
    if (count >= LANES) return load(from);
    vec value = {};
    for (int64_t i = 0; i < count; i++) value[i] = from[i];
    return value;
}

inline void store(float* to, vec value, int64_t count) {
    if (count >= LANES) return store(to, value);
    for (int64_t i = 0; i < count; i++) to[i] = value[i];
}

// Sum over the vector, halves added to halves.
inline float total(vec x) {
#if LANES == 16
    x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
#elif LANES == 8
    x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
#else
    static_assert(LANES == 4);
    x += __builtin_shufflevector(x, x, 2, 3, 0, 1);
#endif
    return x[0] + x[1];
}

// Comparisons are written so that NaN passes through.
inline vec clamp(vec x, float low, float high) {
    x = x > high ? vec{} + high : x;
    return x < low ? vec{} + low : x;
}

// 1 / (1 + e^-x), to 2e-7 of its value (in the far tail to 1e-5 of it). 2^r by a polynomial of degree 5, minimax in
// relative error over [-1/2, 1/2] (Lawson's iteration), 9e-8.
inline vec sigmoid(vec x) {
    const float round = 12582912.0f; // 1.5 * 2^23: adding it leaves a whole number in the low bits
    vec t = clamp(x * -1.44269504f, -126.0f, 126.0f);
    vec whole = t + round;
    vec r = t - (whole - round);
    vec p = r * 0.001326472731f + 0.009671512991f;
    p = p * r + 0.05550733581f;
    p = p * r + 0.2402224243f;
    p = p * r + 0.6931470037f;
    p = p * r + 1.0f;
    ints scale = ((ints)whole + 127) << 23;
    return 1.0f / (1.0f + p * (vec)scale);
}

// tanh, to 3e-7 of its value: an odd rational function of degree 9 over 8, minimax in relative error up to 9.01,
// beyond which float32 knows only 1 (Lawson's iteration, 2e-8 before rounding).
inline vec tanh(vec x) {
    x = clamp(x, -9.01f, 9.01f);
    vec z = x * x;
    vec p = z * 1.333693600e-8f + 2.059634426e-5f;
    p = p * z + 0.003494815668f;
    p = p * z + 0.1338037550f;
    p = p * z + 1.0f;
    vec q = z * 7.769320973e-7f + 0.0003284370468f;
    q = q * z + 0.02587404475f;
    q = q * z + 0.4671369195f;
    q = q * z + 1.0f;
    return x * p / q;
}

} // namespace
} // namespace cellgate
