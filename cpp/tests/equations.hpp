// The recurrence written plainly in double precision, and how the kernel is called and compared with it.
// Legend of axes: see recurrence.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../recurrence.hpp"

namespace cellgate {

// Arrays that start one float past what the allocator aligns, and end where its memory ends.
template <class T> struct Odd : std::allocator<T> {
    template <class U> struct rebind {
        using other = Odd<U>;
    };
    T* allocate(std::size_t n) { return static_cast<T*>(std::malloc((n + 1) * sizeof(T))) + 1; }
    void deallocate(T* memory, std::size_t) { std::free(memory - 1); }
};
using Floats = std::vector<float, Odd<float>>;
using Doubles = std::vector<double>;
using Integers = std::vector<int64_t>;

inline Floats floats(const Doubles& numbers) { return Floats(numbers.begin(), numbers.end()); }
inline std::size_t size(int64_t count) { return static_cast<std::size_t>(count); }

constexpr Cell all_cells[] = {Cell::lstm, Cell::gru, Cell::rnn, Cell::peephole};
inline const char* name(Cell cell) {
    constexpr const char* names[] = {"lstm", "gru", "rnn", "peephole"};
    return names[static_cast<int>(cell)];
}

// ---- a problem and its answer

// What a forward and a backward call are given. Numbers are doubles that a float holds exactly.
struct Problem {
    Cell cell;
    bool reverse;
    int64_t hidden, steps;
    Integers lengths, starts, index; // index: empty or [B, T]
    int64_t tokens = 0;
    Doubles gates, w_h, b_h, p, h_0, c_0, d_y, d_h_n, d_c_n;
    bool rounded = false; // the factors of products with w_h

    double factor(double number) const {
        if (!rounded || !std::isfinite(number)) return number;
        int exponent;
        const double fraction = std::frexp(number, &exponent); // 8 bits, of two that are as near the even one
        return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
    }
    int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
    int64_t gate_row(int64_t b, int64_t t) const {
        return index.empty() ? starts[size(b)] + t : index[size(b * steps + t)];
    }
    Rows batch() const { return {rows(), steps, hidden, lengths.data(), starts.data(), reverse}; }
    std::string words() const {
        return std::string(name(cell)) + (reverse ? " reverse" : "") + (index.empty() ? "" : " of a table") + ", B " +
               std::to_string(rows()) + ", T " + std::to_string(steps) + ", H " + std::to_string(hidden);
    }
};

// Where a kept h_{t-1} is followed by the next.
inline int64_t before_stride(const Problem& p) { return p.hidden + 3; }

enum Part { Y, H_N, C_N, KEPT, CELLS, BEFORE, D_GATES, D_H_0, D_C_0, D_P, PARTS };
constexpr const char* part_names[PARTS] = {"y",      "h_n",     "c_n",   "kept",  "cells",
                                           "before", "d_gates", "d_h_0", "d_c_0", "d_p"};

template <class Numbers> struct Answer {
    Numbers parts[PARTS];

    // All of it is NaN, so that what is not written is noticed; but for d_p, which is added to.
    explicit Answer(const Problem& p) {
        const int64_t state = p.rows() * p.hidden, kept = p.tokens * kept_per_unit(p.cell) * p.hidden;
        const int64_t memory = has_memory(p.cell) ? 1 : 0;
        const int64_t sizes[PARTS] = {state * p.steps,
                                      state,
                                      state * memory,
                                      kept,
                                      p.tokens * p.hidden * memory,
                                      p.tokens * before_stride(p),
                                      kept,
                                      state,
                                      state * memory,
                                      p.cell == Cell::peephole ? 3 * state : 0};
        for (int part = 0; part < PARTS; part++) parts[part].assign(size(sizes[part]), part == D_P ? 0 : NAN);
    }
    Numbers& operator[](Part part) { return parts[part]; }
};

inline Problem make_problem(Cell cell, bool reverse, int64_t hidden, int64_t steps, const Integers& lengths,
                            bool table = false) {
    std::mt19937 engine(static_cast<unsigned>(hidden * 31 + steps));
    auto draw = [&](int64_t count, double scale) {
        std::uniform_real_distribution<float> numbers(static_cast<float>(-scale), static_cast<float>(scale));
        Doubles drawn(size(count));
        for (double& number : drawn) number = numbers(engine);
        return drawn;
    };
    Problem p{cell, reverse, hidden, steps, lengths, {}, {}, 0, {}, {}, {}, {}, {}, {}, {}, {}, {}, false};
    for (int64_t length : lengths) p.starts.push_back(p.tokens), p.tokens += length;
    const int64_t rows = p.rows(), distinct = 5;
    if (table)
        for (int64_t i = 0; i < rows * steps; i++) p.index.push_back(i * i % distinct);
    p.gates = draw((table ? distinct : p.tokens) * gates(cell) * hidden, 2);
    p.w_h = draw(gates(cell) * hidden * hidden, 2 / std::sqrt(static_cast<double>(hidden)));
    p.b_h = draw(cell == Cell::gru ? hidden : 0, 1);
    p.p = draw(cell == Cell::peephole ? 3 * hidden : 0, 1);
    p.h_0 = draw(rows * hidden, 1), p.d_h_n = draw(rows * hidden, 1);
    p.c_0 = draw(has_memory(cell) ? rows * hidden : 0, 1), p.d_c_n = draw(static_cast<int64_t>(p.c_0.size()), 1);
    p.d_y = draw(rows * steps * hidden, 1);
    for (int64_t b = 0; b < rows; b++) // not to be read
        for (int64_t i = lengths[size(b)] * hidden; i < steps * hidden; i++) p.d_y[size(b * steps * hidden + i)] = NAN;
    return p;
}

// ---- the equations, a row at a time

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// a: W_x x + b of the token. Changes h and c, writes what backward needs.
inline void step(const Problem& p, const double* a, Doubles& h, Doubles& c, double* kept) {
    const int64_t H = p.hidden;
    Doubles u(size(gates(p.cell) * H)); // W_h h
    for (int64_t g = 0; g < gates(p.cell) * H; g++)
        for (int64_t k = 0; k < H; k++) u[size(g)] += p.factor(p.w_h[size(g * H + k)]) * p.factor(h[size(k)]);
    for (int64_t j = 0; j < H; j++) {
        auto sum = [&](int64_t gate) { return a[gate * H + j] + u[size(gate * H + j)]; };
        double &now = h[size(j)], *keep = kept + j;
        if (has_memory(p.cell)) {
            auto peep = [&](int64_t gate) { return p.p.empty() ? 0 : p.p[size(gate * H + j)] * c[size(j)]; };
            const double i = sigmoid(sum(0) + peep(0)), f = sigmoid(sum(1) + peep(1)), g = std::tanh(sum(2));
            c[size(j)] = f * c[size(j)] + i * g;
            const double o = sigmoid(sum(3) + peep(2));
            now = o * std::tanh(c[size(j)]);
            keep[0] = i, keep[H] = f, keep[2 * H] = g, keep[3 * H] = o;
        } else if (p.cell == Cell::gru) {
            const double r = sigmoid(sum(0)), z = sigmoid(sum(1)),
                         q = u[size(2 * H + j)] + (p.b_h.empty() ? 0 : p.b_h[size(j)]);
            const double n = std::tanh(a[2 * H + j] + r * q);
            now = (1 - z) * n + z * now;
            keep[0] = n, keep[H] = r, keep[2 * H] = z, keep[3 * H] = q;
        } else
            keep[0] = now = std::tanh(sum(0));
    }
}

// d_h, d_c: gradients of this step's h and c on the way in, of the step before's on the way out.
inline void step_back(const Problem& p, const double* kept, const double* c, const double* c_before,
                      const double* h_before, Doubles& d_h, Doubles& d_c, double* d_gates, double* d_p) {
    const int64_t H = p.hidden;
    for (int64_t j = 0; j < H; j++) {
        const double* keep = kept + j;
        double *d = d_gates + j, &dh = d_h[size(j)];
        if (has_memory(p.cell)) {
            const double i = keep[0], f = keep[H], g = keep[2 * H], o = keep[3 * H], bent = std::tanh(c[j]);
            auto peep = [&](int64_t gate, double to) { return p.p.empty() ? 0 : to * p.p[size(gate * H + j)]; };
            d[3 * H] = dh * bent * o * (1 - o);
            const double dc = d_c[size(j)] + dh * o * (1 - bent * bent) + peep(2, d[3 * H]);
            d[0] = dc * g * i * (1 - i), d[H] = dc * c_before[j] * f * (1 - f), d[2 * H] = dc * i * (1 - g * g);
            d_c[size(j)] = dc * f + peep(0, d[0]) + peep(1, d[H]), dh = 0;
            if (p.p.empty()) continue;
            d_p[j] += d[0] * c_before[j], d_p[H + j] += d[H] * c_before[j], d_p[2 * H + j] += d[3 * H] * c[j];
        } else if (p.cell == Cell::gru) {
            const double n = keep[0], r = keep[H], z = keep[2 * H], q = keep[3 * H], dn = dh * (1 - z) * (1 - n * n);
            d[0] = dn, d[H] = dn * q * r * (1 - r), d[2 * H] = dh * (h_before[j] - n) * z * (1 - z), d[3 * H] = dn * r;
            dh *= z;
        } else
            d[0] = dh * (1 - keep[0] * keep[0]), dh = 0;
    }
    const double* recurrent = d_gates + (kept_per_unit(p.cell) - gates(p.cell)) * H;
    for (int64_t g = 0; g < gates(p.cell) * H; g++)
        for (int64_t k = 0; k < H; k++) d_h[size(k)] += p.factor(recurrent[g]) * p.factor(p.w_h[size(g * H + k)]);
}

inline Answer<Doubles> equations(const Problem& p) {
    Answer<Doubles> answer(p);
    const int64_t H = p.hidden, kept = kept_per_unit(p.cell) * H, memory = has_memory(p.cell) ? H : 0;
    auto row = [](const Doubles& from, int64_t b, int64_t width) {
        return Doubles(from.begin() + b * width, from.begin() + (b + 1) * width);
    };
    auto put = [](const Doubles& from, Doubles& to, int64_t place) {
        std::copy(from.begin(), from.end(), to.begin() + place);
    };
    for (int64_t b = 0; b < p.rows(); b++) {
        const int64_t length = p.lengths[size(b)];
        auto time = [&](int64_t s) { return p.reverse ? length - 1 - s : s; };
        auto token = [&](int64_t s) { return p.starts[size(b)] + time(s); };
        auto place = [&](int64_t s) { return (b * p.steps + time(s)) * H; };
        Doubles h = row(p.h_0, b, H), c = row(p.c_0, b, memory);
        std::fill_n(answer[Y].begin() + b * p.steps * H, p.steps * H, 0);
        for (int64_t s = 0; s < length; s++) {
            put(h, answer[BEFORE], token(s) * before_stride(p));
            step(p, &p.gates[size(p.gate_row(b, time(s)) * gates(p.cell) * H)], h, c,
                 &answer[KEPT][size(token(s) * kept)]);
            put(h, answer[Y], place(s));
            put(c, answer[CELLS], token(s) * memory);
        }
        put(h, answer[H_N], b * H), put(c, answer[C_N], b * memory);
        Doubles d_h = row(p.d_h_n, b, H), d_c = row(p.d_c_n, b, memory);
        for (int64_t s = length - 1; s >= 0; s--) {
            for (int64_t j = 0; j < H; j++) d_h[size(j)] += p.d_y[size(place(s) + j)];
            const double* c_now = answer[CELLS].data() + token(s) * memory;
            const double* c_before = s == 0 ? p.c_0.data() + b * memory : answer[CELLS].data() + token(s - 1) * memory;
            step_back(p, &answer[KEPT][size(token(s) * kept)], c_now, c_before,
                      &answer[BEFORE][size(token(s) * before_stride(p))], d_h, d_c,
                      &answer[D_GATES][size(token(s) * kept)], answer[D_P].data() + (p.p.empty() ? 0 : 3 * b * H));
        }
        put(d_h, answer[D_H_0], b * H), put(d_c, answer[D_C_0], b * memory);
    }
    return answer;
}

// ---- the kernel

// Those that round factors by `all_widths(rounding_widths)`, which may be none.
inline std::vector<Width> all_widths(int (*found)(const Width**) = widths) {
    const Width* list;
    const int count = found(&list);
    return std::vector<Width>(list, list + count);
}

enum class Keep { apart, in_place, nothing };

inline Answer<Floats> computed(const Problem& p, const Width& width, int threads, Keep keep = Keep::apart) {
    const Floats w_h = floats(p.w_h), b_h = floats(p.b_h), peep = floats(p.p), h_0 = floats(p.h_0), c_0 = floats(p.c_0);
    const Floats d_y = floats(p.d_y), d_h_n = floats(p.d_h_n), d_c_n = floats(p.d_c_n), given = floats(p.gates);
    Answer<Floats> answer(p);
    if (keep == Keep::in_place) answer[KEPT] = given;
    Forward f;
    f.cell = p.cell, f.batch = p.batch();
    f.gates = keep == Keep::in_place ? answer[KEPT].data() : given.data();
    f.index = p.index.empty() ? nullptr : p.index.data();
    f.w_h = w_h.data(), f.b_h = b_h.empty() ? nullptr : b_h.data(), f.p = peep.data(), f.h_0 = h_0.data(),
    f.c_0 = c_0.data();
    f.y = answer[Y].data(), f.h_n = answer[H_N].data(), f.c_n = answer[C_N].data();
    if (keep != Keep::nothing) {
        f.kept = answer[KEPT].data(), f.cells = has_memory(p.cell) ? answer[CELLS].data() : nullptr;
        f.before = answer[BEFORE].data(), f.before_stride = before_stride(p);
    }
    width.forward(f, threads);
    if (keep == Keep::nothing) return answer;
    Backward b;
    b.cell = p.cell, b.batch = p.batch();
    b.kept = f.kept, b.cells = f.cells, b.before = f.before, b.before_stride = f.before_stride;
    b.w_h = w_h.data(), b.p = peep.data(), b.c_0 = c_0.data(), b.d_y = d_y.data(), b.d_h_n = d_h_n.data(),
    b.d_c_n = d_c_n.data();
    b.d_gates = answer[D_GATES].data(), b.d_h_0 = answer[D_H_0].data(), b.d_c_0 = answer[D_C_0].data();
    b.d_p = p.p.empty() ? nullptr : answer[D_P].data();
    width.backward(b, threads);
    return answer;
}

// ---- comparing

// Relative to 1 + |x|. Values are below 5, gradients below 3, at most 8 steps follow each other and sums have at most
// 4 * 224 terms; the largest differences seen are 1.0e-6 of values and 3.1e-6 of gradients.
constexpr double tolerance = 1e-5;

[[noreturn]] inline void fail(const std::string& what) {
    std::printf("FAILED: %s\n", what.c_str());
    std::fflush(stdout);
    std::_Exit(1);
}

inline bool near(double got, double wanted, double allowed) {
    if (std::isnan(wanted)) return std::isnan(got);
    return got == wanted || std::fabs(got - wanted) <= allowed * (1 + std::fabs(wanted));
}

template <class Got, class Wanted>
void expect_near(const std::string& where, const Got& got, const Wanted& wanted, double allowed = tolerance) {
    for (std::size_t i = 0; i < wanted.size(); i++)
        if (!near(got[i], wanted[i], allowed))
            fail(where + "[" + std::to_string(i) + "]: expected " + std::to_string(wanted[i]) + ", got " +
                 std::to_string(got[i]));
}

inline void expect_same(const std::string& where, const Floats& got, const Floats& wanted) {
    if (got.size() != wanted.size()) fail(where + ": not the same size");
    for (std::size_t i = 0; i < got.size(); i++)
        if (std::memcmp(&got[i], &wanted[i], sizeof(float)) != 0)
            fail(where + "[" + std::to_string(i) + "]: not the same bits: " + std::to_string(wanted[i]) + ", " +
                 std::to_string(got[i]));
}

inline void expect_near(const std::string& where, const Answer<Floats>& got, const Answer<Doubles>& wanted,
                        int parts = PARTS, double allowed = tolerance) {
    for (int part = 0; part < parts; part++)
        expect_near(where + ": " + part_names[part], got.parts[part], wanted.parts[part], allowed);
}

inline void expect_same(const std::string& where, const Answer<Floats>& got, const Answer<Floats>& wanted,
                        int parts = PARTS) {
    for (int part = 0; part < parts; part++)
        expect_same(where + ": " + part_names[part], got.parts[part], wanted.parts[part]);
}

} // namespace cellgate
