// Checks the kernel against the equations in double precision, without Python: every vector width, every path.
// Built and run by `make sanitize` under gcc's address, undefined behaviour and thread sanitizers.
// Prints a line for each group of checks; stops at the first that fails, with exit status 1.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "../threads.hpp"
#include "equations.hpp"

// Told by gcc in one way, by clang in another.
#if defined(__has_feature)
#define SANITIZES(sanitizer) __has_feature(sanitizer)
#else
#define SANITIZES(sanitizer) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || SANITIZES(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#if defined(__SANITIZE_THREAD__) || SANITIZES(thread_sanitizer)
#define THREAD_SANITIZER
#endif

using namespace cellgate;

namespace {

// The judge's own gradients: slopes of sum(d_y * y) + sum(d_h_n * h_n) + sum(d_c_n * c_n).
void check_slopes() {
    for (Cell cell : all_cells)
        for (bool reverse : {false, true}) {
            Problem p = make_problem(cell, reverse, 3, 4, {4, 0, 2});
            auto product = [](const Doubles& one, const Doubles& other) {
                double sum = 0;
                for (std::size_t i = 0; i < one.size(); i++) sum += std::isnan(one[i]) ? 0 : one[i] * other[i];
                return sum;
            };
            auto loss = [&] {
                Answer<Doubles> answer = equations(p);
                return product(p.d_y, answer[Y]) + product(p.d_h_n, answer[H_N]) + product(p.d_c_n, answer[C_N]);
            };
            auto slopes = [&](Doubles& numbers) {
                Doubles found;
                for (double& number : numbers) {
                    const double was = number, tiny = 1e-5;
                    number = was + tiny;
                    const double above = loss();
                    number = was - tiny;
                    found.push_back((above - loss()) / (2 * tiny));
                    number = was;
                }
                return found;
            };
            Answer<Doubles> answer = equations(p);
            const int64_t H = p.hidden, kept = kept_per_unit(cell) * H, inputs = gates(cell) * H;
            Doubles of_gates, of_bias(p.b_h.size()); // b_h meets every token
            for (int64_t n = 0; n < p.tokens; n++) {
                for (int64_t g = 0; g < inputs; g++) // gru keeps n, r, z; its gates are r, z, n
                    of_gates.push_back(answer[D_GATES][size(n * kept + (cell == Cell::gru ? (g + H) % inputs : g))]);
                for (std::size_t j = 0; j < of_bias.size(); j++)
                    of_bias[j] += answer[D_GATES][size(n * kept + inputs) + j];
            }
            expect_near(p.words() + ": slopes of gates", of_gates, slopes(p.gates), 1e-8);
            expect_near(p.words() + ": slopes of b_h", of_bias, slopes(p.b_h), 1e-8);
            Doubles of_p(p.p.size()); // p meets every row
            for (std::size_t i = 0; i < answer[D_P].size(); i++) of_p[i % of_p.size()] += answer[D_P][i];
            expect_near(p.words() + ": slopes of p", of_p, slopes(p.p), 1e-8);
            expect_near(p.words() + ": slopes of h_0", answer[D_H_0], slopes(p.h_0), 1e-8);
            expect_near(p.words() + ": slopes of c_0", answer[D_C_0], slopes(p.c_0), 1e-8);
        }
}

struct Case {
    const char* about;
    Integers hidden;
    int64_t steps;
    Integers lengths;
};

const std::vector<Case> cases = {
    {"uneven rows", {1, 5, 17, 33, 64, 100}, 9, {7, 0, 3, 8, 1, 5, 0, 2, 6, 4, 4, 1, 7}},
    {"several blocks in a group", {193}, 2, {2, 1, 2, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1}},
    {"rows without a token", {5}, 4, {0, 0, 0}},
    {"no rows", {5}, 3, {}},
    {"no steps", {5}, 0, {0, 0}},
    {"one row", {1, 33, 130}, 6, {6}},
    {"fewer rows than threads, units shared out", {130, 224}, 4, {2, 0, 4}},
    {"few steps, weights read as they are", {1, 17, 130}, 3, {3}},
    {"few steps of two rows", {5, 130}, 3, {2, 2}},
    {"a step", {33, 128}, 1, {1, 1, 0, 1, 1}},
};

// Values and gradients, the same bits for any number of threads and for each way to keep them.
void check_equations(const Case& one) {
    for (int64_t hidden : one.hidden)
        for (Cell cell : all_cells)
            for (int kind = 0; kind < 4; kind++) {
                const bool reverse = kind % 2 == 1, table = kind >= 2;
                if (hidden > 64 && reverse != table) continue; // for the time it takes
                const Problem p = make_problem(cell, reverse, hidden, one.steps, one.lengths, table);
                const Answer<Doubles> wanted = equations(p);
                for (const Width& width : all_widths()) {
                    const std::string where = std::string(width.name) + ", " + p.words();
                    const Answer<Floats> got = computed(p, width, 1);
                    expect_near(where, got, wanted);
                    for (int threads : {2, 3, 5})
                        expect_same(where + ", " + std::to_string(threads) + " threads", computed(p, width, threads),
                                    got);
                    expect_same(where + ", nothing kept", computed(p, width, 2, Keep::nothing), got, KEPT);
                    if (cell != Cell::gru && !table)
                        expect_same(where + ", kept in place", computed(p, width, 3, Keep::in_place), got);
                }
            }
}

// What rounds its factors computes the equations with rounded factors. A number that the kernel and the equations have
// to 1e-7 of each other may be rounded to two neighbours, so what comes behind the first product is held to less.
void check_rounding(const Width& width) {
    for (const Integers& lengths : {Integers(19, 1), Integers(3, 1), Integers{7, 0, 3, 8, 1, 5}, Integers(20, 2)})
        for (int64_t hidden : {1, 17, 64, 90, 400})
            for (Cell cell : all_cells)
                for (bool reverse : {false, true}) {
                    const int64_t steps = *std::max_element(lengths.begin(), lengths.end());
                    if (hidden > 100 && (steps > 1 || reverse)) continue; // for the time it takes
                    Problem p = make_problem(cell, reverse, hidden, steps, lengths, reverse);
                    p.rounded = true;
                    const std::string where = std::string(width.name) + ", " + p.words();
                    const Answer<Floats> got = computed(p, width, 1);
                    const Answer<Doubles> wanted = equations(p);
                    if (steps == 1) expect_near(where, got, wanted, D_H_0);
                    expect_near(where, got, wanted, PARTS, 1e-2);
                    for (int threads : {2, 5})
                        expect_same(where + ", " + std::to_string(threads) + " threads", computed(p, width, threads),
                                    got);
                    if (cell != Cell::gru && !reverse)
                        expect_same(where + ", kept in place", computed(p, width, 3, Keep::in_place), got);
                }
}

// gru without b_h, and backward with gradients of y alone.
void check_absent(const Width& width) {
    for (Cell cell : all_cells) {
        Problem p = make_problem(cell, false, 17, 5, {5, 0, 3});
        p.b_h.clear();
        for (Doubles* none : {&p.d_h_n, &p.d_c_n}) std::fill(none->begin(), none->end(), 0);
        Answer<Doubles> wanted = equations(p);
        for (Doubles* none : {&p.d_h_n, &p.d_c_n}) none->clear(); // an empty vector's data() is null here
        Answer<Floats> got = computed(p, width, 2);
        expect_near(std::string(width.name) + ", nulls, " + p.words(), got, wanted);
    }
}

void check_row_alone(const Width& width) {
    auto part = [](const auto& all, int64_t first, int64_t last) {
        return std::decay_t<decltype(all)>(all.begin() + first, all.begin() + last);
    };
    for (Cell cell : all_cells)
        for (bool reverse : {false, true}) {
            const Problem p = make_problem(cell, reverse, 33, 7, {3, 7, 0, 1, 5, 2, 7});
            Answer<Floats> together = computed(p, width, 2);
            const int64_t H = p.hidden, y = p.steps * H, memory = has_memory(cell) ? H : 0, depth = gates(cell) * H;
            for (int64_t b = 0; b < p.rows(); b++) {
                const int64_t length = p.lengths[size(b)], start = p.starts[size(b)];
                Problem one = make_problem(cell, reverse, H, p.steps, {length});
                one.w_h = p.w_h, one.b_h = p.b_h, one.p = p.p,
                one.gates = part(p.gates, start * depth, (start + length) * depth);
                one.h_0 = part(p.h_0, b * H, b * H + H), one.c_0 = part(p.c_0, b * memory, b * memory + memory);
                Answer<Floats> alone = computed(one, width, 1, Keep::nothing);
                const std::string where =
                    std::string(width.name) + ", row " + std::to_string(b) + " alone, " + p.words();
                expect_near(where, alone[Y], part(together[Y], b * y, b * y + y), 1e-6);
                expect_near(where, alone[H_N], part(together[H_N], b * H, b * H + H), 1e-6);
                expect_near(where, alone[C_N], part(together[C_N], b * memory, b * memory + memory), 1e-6);
            }
        }
}

// NaN and infinity give what the equations give, and stay in their row. A gate shut by infinity is 1e-38 here and 0 in
// the equations, so infinity is not put where it meets such a gate.
void check_not_finite(const Width& width, bool rounded = false) {
    for (Cell cell : all_cells)
        for (const Integers& lengths : {Integers{3, 6, 0, 5, 6, 2, 4}, Integers{1, 1}})
            for (const float wrong : {NAN, INFINITY, -INFINITY}) {
                Problem clean = make_problem(cell, false, 17, 6, lengths);
                clean.rounded = rounded;
                const int64_t row = clean.steps * clean.hidden; // where y of row 1 begins
                Answer<Floats> before = computed(clean, width, 2);
                auto check = [&](const char* where, Doubles Problem::* numbers, int64_t place, bool in_row) {
                    Problem p = clean;
                    (p.*numbers)[size(place)] = wrong;
                    const std::string what =
                        std::string(width.name) + ", " + std::to_string(wrong) + " in " + where + ", " + p.words();
                    Answer<Doubles> wanted = equations(p);
                    Answer<Floats> after = computed(p, width, 2);
                    expect_near(what, after, wanted, in_row ? PARTS : KEPT, rounded ? 1e-2 : tolerance);
                    if (!in_row) return;
                    std::copy_n(before[Y].begin() + row, row, after[Y].begin() + row);
                    expect_same(what + ": another row's y", after[Y], before[Y]);
                };
                check("gates", &Problem::gates, clean.starts[1] * gates(cell) * clean.hidden + 3, true);
                check("d_y", &Problem::d_y, row + 2, true);
                check("w_h", &Problem::w_h, 20, false);
                if (!std::isnan(wrong)) continue;
                check("h_0", &Problem::h_0, 20, true);
                if (has_memory(cell)) check("c_0", &Problem::c_0, 20, true);
            }
}

void check_project(const Width& width) {
    const Problem numbers = make_problem(Cell::rnn, false, 300, 9, {9, 9});
    const Floats x = floats(numbers.gates), w_x = floats(numbers.w_h), b = floats(numbers.h_0);
    for (int64_t tokens : {0, 1, 3})
        for (int64_t depth : {0, 1, 7, 16, 300})
            for (int64_t rows : {1, 9, 64, 200}) {
                const int64_t stride = depth + 2;
                Floats out(size(tokens * rows)), shared(out);
                width.project({x.data(), tokens, stride, w_x.data(), b.data(), depth, rows, out.data()}, 1);
                width.project({x.data(), tokens, stride, w_x.data(), b.data(), depth, rows, shared.data()}, 5);
                Doubles wanted;
                for (int64_t n = 0; n < tokens; n++)
                    for (int64_t r = 0; r < rows; r++) {
                        double sum = b[size(r)];
                        for (int64_t k = 0; k < depth; k++)
                            sum += double(x[size(n * stride + k)]) * w_x[size(r * depth + k)];
                        wanted.push_back(sum);
                    }
                const std::string where =
                    std::string(width.name) + ", project " + std::to_string(depth) + " to " + std::to_string(rows);
                expect_near(where, out, wanted);
                expect_same(where + ", 5 threads", shared, out);
            }
}

void check_multiply(const Width& width, bool rounded = false) {
    Problem numbers = make_problem(Cell::rnn, false, 300, 9, {9, 9});
    numbers.rounded = rounded;
    const Floats pool = floats(numbers.w_h), bias = floats(numbers.gates);
    for (int64_t rows : {0, 1, 5, 150})
        for (int64_t depth : {0, 1, 63, 300})
            for (int64_t columns : {0, 1, 64, 90})
                for (int left_turned : {0, 1, 2})
                    for (bool right_turned : {false, true}) {
                        Product p{rows, depth, columns, pool.data(), depth + 3, 1, pool.data() + 11, columns, 1};
                        if (left_turned == 1) p.left_row = 1, p.left_depth = rows + 1;
                        if (left_turned == 2) p.left_row = depth + 4, p.left_depth = 2;
                        if (right_turned) p.right_depth = 1, p.right_column = depth + 2;
                        p.bias = left_turned ? nullptr : bias.data();
                        Floats out(size(rows * columns), NAN), shared(out);
                        p.out = out.data();
                        width.multiply(p, 1);
                        p.out = shared.data();
                        width.multiply(p, 5);
                        Doubles wanted;
                        for (int64_t r = 0; r < rows; r++)
                            for (int64_t c = 0; c < columns; c++) {
                                double sum = p.bias == nullptr ? 0 : p.bias[c];
                                for (int64_t k = 0; k < depth; k++)
                                    sum += numbers.factor(p.left[r * p.left_row + k * p.left_depth]) *
                                           numbers.factor(p.right[k * p.right_depth + c * p.right_column]);
                                wanted.push_back(sum);
                            }
                        const std::string where = std::string(width.name) + ", multiply " + std::to_string(rows) +
                                                  " by " + std::to_string(depth) + " by " + std::to_string(columns);
                        expect_near(where, out, wanted);
                        expect_same(where + ", 5 threads", shared, out);
                    }
}

void check_copies() {
    for (int64_t depth : {3, 900}) {
        const Problem p = make_problem(Cell::rnn, false, depth, 4, {2, 0, 4, 1, 3, 4}, true);
        const int64_t step = depth + 1, row = p.steps * step + 2, stride = depth + 3;
        for (int threads : {1, 4}) {
            Floats padded, tokens(size(p.tokens * stride), -1), wanted(tokens), back(size(p.rows() * row), -1),
                zeroed(back);
            for (std::size_t i = 0; i < back.size(); i++) padded.push_back(static_cast<float>(i));
            Floats sums(size(5 * depth)), added(sums);
            for (int64_t b = 0; b < p.rows(); b++)
                for (int64_t t = 0; t < p.steps; t++)
                    for (int64_t k = 0; k < depth; k++) {
                        const float number = padded[size(b * row + t * step + k)];
                        const bool real = t < p.lengths[size(b)];
                        zeroed[size(b * row + t * step + k)] = real ? number : 0;
                        if (!real) continue;
                        wanted[size((p.starts[size(b)] + t) * stride + k)] = number;
                        added[size(p.index[size(b * p.steps + t)] * depth + k)] += number;
                    }
            gather({p.batch(), depth, row, step, stride}, padded.data(), tokens.data(), threads);
            expect_same("gather", tokens, wanted);
            scatter({p.batch(), depth, row, step, stride}, tokens.data(), back.data(), threads);
            expect_same("scatter", back, zeroed);
            sum_by_index({p.batch(), p.index.data(), tokens.data(), stride, depth, sums.data()}, threads);
            expect_same("sum_by_index", sums, added);
        }
    }
}

void check_parts() {
    for (int round = 0; round < 50; round++)
        for (int threads : {0, 1, 2, 5})
            for (int parts : {0, 1, 3, 200}) {
                std::vector<std::atomic<int>> done(size(parts));
                parallel(threads, parts, [&](int part) { done[size(part)]++; });
                for (auto& times : done)
                    if (times != 1) fail("a part was done " + std::to_string(times) + " times");
                int thrown = -1;
                try {
                    parallel(threads, parts, [](int part) {
                        if (part == 2) throw part;
                    });
                } catch (int part) {
                    thrown = part;
                }
                if (thrown != (parts > 2 ? 2 : -1)) fail("what a part threw did not come back");
            }
}

// Where the caller flushes denormals to zero, its helpers do too.
void check_rounding_mode(const Width& width) {
#if defined(__x86_64__)
    Problem p = make_problem(Cell::rnn, false, 8, 1, Integers(40, 1));
    for (Doubles* numbers : {&p.gates, &p.w_h, &p.h_0})
        for (double& number : *numbers) number *= numbers == &p.gates ? 0 : 1e-20f;
    const unsigned mode = _mm_getcsr();
    for (int round = 0; round < 50; round++) {
        Answer<Floats> kept = computed(p, width, 5);
        for (float number : kept[Y])
            if (number == 0) fail("a denormal was flushed though the caller's mode keeps them");
        _mm_setcsr(mode | 0x8040);
        Answer<Floats> flushed = computed(p, width, 5);
        _mm_setcsr(mode);
        for (float number : flushed[Y])
            if (number != 0) fail("a denormal was kept though the caller's mode flushes them");
    }
#else
    (void)width;
#endif
}

// Bits that every thread and process is to find.
struct Repeat {
    Width width = all_widths().front();
    Problem many = make_problem(Cell::lstm, true, 130, 5, {5, 3, 0, 4, 1, 5, 2}),
            few = make_problem(Cell::gru, false, 130, 5, {5});
    Answer<Floats> wanted_many = computed(many, width, 1), wanted_few = computed(few, width, 1);

    void run(const std::string& where) const {
        expect_same(where, computed(many, width, 3), wanted_many);
        expect_same(where, computed(few, width, 3), wanted_few);
    }
};

void check_two_callers() {
    const Repeat repeat;
    auto often = [&] {
        for (int i = 0; i < 30; i++) repeat.run("two threads at once");
    };
    std::thread other(often);
    often();
    other.join();
}

// What musl gives a thread.
void check_small_stack() {
    Repeat repeat;
    auto run = [](void* given) -> void* { return static_cast<Repeat*>(given)->run("a small stack"), nullptr; };
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, 128 * 1024) != 0 ||
        pthread_create(&thread, &attributes, run, &repeat) != 0)
        fail("no thread with a small stack");
    pthread_join(thread, nullptr);
}

// Children are made while another thread computes, so while locks may be held.
void check_fork() {
#if defined(THREAD_SANITIZER)
    std::printf("skipped, the thread sanitizer allows no threads after a fork: ");
#else
    const Repeat repeat;
    std::atomic<bool> done{false};
    std::thread busy;
#if !defined(ADDRESS_SANITIZER) // a child of gcc 12's may find its allocator locked by the other thread
    busy = std::thread([&] {
        while (!done) repeat.run("a thread beside a fork");
    });
#endif
    for (int round = 0; round < 50; round++) {
        repeat.run("before a fork");
        const pid_t child = fork();
        if (child == 0) {
            alarm(20);
            repeat.run("a forked child");
            std::atomic<int> begun{0}; // each part waits for the other: the child has a helper of its own
            parallel(2, 2, [&](int) {
                for (begun++; begun < 2;) relax();
            });
            _exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        if (status != 0) fail("a forked child ended with status " + std::to_string(status));
    }
    done = true;
    if (busy.joinable()) busy.join();
#endif
}

template <class Check> void group(const std::string& about, Check&& check) {
    std::printf("%s ... ", about.c_str());
    std::fflush(stdout);
    check();
    std::printf("ok\n");
}

} // namespace

int main() {
    group("the equations' gradients are slopes", check_slopes);
    group("every part is done once, what it throws comes back", check_parts);
    group("gather, scatter, sum_by_index", check_copies);
    for (const Case& one : cases)
        group(std::string("against the equations: ") + one.about, [&] { check_equations(one); });
    for (const Width& width : all_widths()) {
        const std::string name = std::string(width.name) + ": ";
        group(name + "absent b_h, d_h_n and d_c_n are zeros", [&] { check_absent(width); });
        group(name + "a row alone is the row in a batch", [&] { check_row_alone(width); });
        group(name + "NaN and infinity pass through, in their row", [&] { check_not_finite(width); });
        group(name + "project", [&] { check_project(width); });
        group(name + "multiply", [&] { check_multiply(width); });
        group(name + "helpers flush denormals as the caller does", [&] { check_rounding_mode(width); });
    }
    for (const Width& width : all_widths(rounding_widths)) {
        const std::string name = std::string(width.name) + ": ";
        group(name + "against the equations with rounded factors", [&] { check_rounding(width); });
        group(name + "multiply", [&] { check_multiply(width, true); });
        group(name + "NaN and infinity pass through, in their row", [&] { check_not_finite(width, true); });
    }
    if (all_widths(rounding_widths).empty()) std::printf("left out, this processor has no bfloat16: rounded factors\n");
    group("two threads call at once", check_two_callers);
    group("a stack of 128 KiB", check_small_stack);
    group("fork after use", check_fork);
}
