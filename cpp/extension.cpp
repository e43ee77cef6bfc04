// The Python module cellgate.kernel._native. Private: arrays come as addresses, which the doors that call it
// (cellgate.kernel for numpy, cellgate.ops.native for torch) have checked; that spares a call 10 conversions.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "recurrence.hpp"

namespace nb = nanobind;
using namespace cellgate;

namespace {

using Address = uintptr_t; // 0: null

float* floats(Address address) { return reinterpret_cast<float*>(address); }
const int64_t* whole_numbers(Address address) { return reinterpret_cast<const int64_t*>(address); }

// Lengths of a batch, copied and checked.
class Layout {
  public:
    Layout(int64_t rows, int64_t steps, Address lengths) : steps_(steps) {
        lengths_.assign(static_cast<std::size_t>(rows), steps);
        if (lengths != 0) lengths_.assign(whole_numbers(lengths), whole_numbers(lengths) + rows);
        starts_.reserve(lengths_.size());
        for (std::size_t row = 0; row < lengths_.size(); row++) {
            if (lengths_[row] < 0 || lengths_[row] > steps)
                throw nb::value_error(("lengths: expected 0 to T = " + std::to_string(steps) + ", got " +
                                       std::to_string(lengths_[row]) + " in row " + std::to_string(row))
                                          .c_str());
            starts_.push_back(tokens_);
            tokens_ += lengths_[row];
        }
    }

    int64_t tokens() const { return tokens_; }
    bool full() const { return tokens_ == steps_ * static_cast<int64_t>(lengths_.size()); }

    Rows rows(int64_t hidden, bool reverse) const {
        return {static_cast<int64_t>(lengths_.size()), steps_, hidden, lengths_.data(), starts_.data(), reverse};
    }

  private:
    int64_t steps_, tokens_ = 0;
    std::vector<int64_t> lengths_, starts_;
};

constexpr int ROUNDING = -1; // in place of a width's number: the best of those that round

const Width& width(int number) {
    const Width* list;
    if (number == ROUNDING && rounding_widths(&list) > 0) return list[0];
    const int count = widths(&list);
    if (number < 0 || number >= count) throw nb::value_error("width: no such number");
    return list[number];
}

std::vector<std::string> width_names(int (*found)(const Width**)) {
    const Width* list;
    const int count = found(&list);
    std::vector<std::string> names;
    for (int i = 0; i < count; i++) names.emplace_back(list[i].name);
    return names;
}

Cell cell_of(int number) {
    if (number < 0 || number > 3) throw nb::value_error("cell: no such number");
    return static_cast<Cell>(number);
}

void run_forward(const Layout& layout, int cell, int64_t hidden, bool reverse, int threads, int number, Address gates,
                 Address index, Address w_h, Address b_h, Address p, Address h_0, Address c_0, Address y, Address h_n,
                 Address c_n, Address kept, Address cells, Address before, int64_t before_stride) {
    Forward call;
    call.cell = cell_of(cell);
    call.batch = layout.rows(hidden, reverse);
    call.gates = floats(gates);
    call.index = whole_numbers(index);
    call.w_h = floats(w_h);
    call.b_h = floats(b_h);
    call.p = floats(p);
    call.h_0 = floats(h_0);
    call.c_0 = floats(c_0);
    call.y = floats(y);
    call.h_n = floats(h_n);
    call.c_n = floats(c_n);
    call.kept = floats(kept);
    call.cells = floats(cells);
    call.before = floats(before);
    call.before_stride = before_stride;
    const Width& chosen = width(number);
    nb::gil_scoped_release released;
    chosen.forward(call, threads);
}

void run_backward(const Layout& layout, int cell, int64_t hidden, bool reverse, int threads, int number, Address kept,
                  Address cells, Address before, int64_t before_stride, Address w_h, Address p, Address c_0,
                  Address d_y, Address d_h_n, Address d_c_n, Address d_gates, Address d_h_0, Address d_c_0,
                  Address d_p) {
    Backward call;
    call.cell = cell_of(cell);
    call.batch = layout.rows(hidden, reverse);
    call.kept = floats(kept);
    call.cells = floats(cells);
    call.before = floats(before);
    call.before_stride = before_stride;
    call.w_h = floats(w_h);
    call.p = floats(p);
    call.c_0 = floats(c_0);
    call.d_y = floats(d_y);
    call.d_h_n = floats(d_h_n);
    call.d_c_n = floats(d_c_n);
    call.d_gates = floats(d_gates);
    call.d_h_0 = floats(d_h_0);
    call.d_c_0 = floats(d_c_0);
    call.d_p = floats(d_p);
    const Width& chosen = width(number);
    nb::gil_scoped_release released;
    chosen.backward(call, threads);
}

} // namespace

NB_MODULE(_native, m) {
    m.doc() = "The recurrence in C++. Private: addresses are trusted.";
    nb::set_leak_warnings(false); // a traceback that lives to the end may hold a layout

    nb::class_<Layout>(m, "Layout")
        .def(nb::init<int64_t, int64_t, Address>(), nb::arg("rows"), nb::arg("steps"), nb::arg("lengths"))
        .def_prop_ro("tokens", &Layout::tokens)
        .def_prop_ro("full", &Layout::full);
    m.def("address", [](nb::handle array) { // numpy's own ways to say it take a microsecond
        Py_buffer view;
        if (PyObject_GetBuffer(array.ptr(), &view, PyBUF_C_CONTIGUOUS) != 0) throw nb::python_error();
        const Address address = reinterpret_cast<Address>(view.buf);
        PyBuffer_Release(&view);
        return address;
    });
    m.def("widths", [] { return width_names(widths); });
    m.attr("ROUNDING") = ROUNDING;
    m.def("rounding_widths", [] { return width_names(rounding_widths); });
    m.def("own_products", &own_products);
    m.def("forward", &run_forward);
    m.def("backward", &run_backward);
    m.def("project", [](int number, int threads, Address x, int64_t tokens, int64_t stride, Address w_x, Address b,
                        int64_t depth, int64_t rows, Address out) {
        const Width& chosen = width(number);
        nb::gil_scoped_release released;
        chosen.project({floats(x), tokens, stride, floats(w_x), floats(b), depth, rows, floats(out)}, threads);
    });
    m.def("multiply",
          [](int number, int threads, int64_t rows, int64_t depth, int64_t columns, Address left, int64_t left_row,
             int64_t left_depth, Address right, int64_t right_depth, int64_t right_column, Address bias, Address out) {
              const Width& chosen = width(number);
              nb::gil_scoped_release released;
              chosen.multiply({rows, depth, columns, floats(left), left_row, left_depth, floats(right), right_depth,
                               right_column, floats(bias), floats(out)},
                              threads);
          });
    m.def("gather", [](const Layout& layout, int64_t depth, int64_t row_stride, int64_t step_stride, int64_t stride,
                       Address padded, Address rows, int threads) {
        nb::gil_scoped_release released;
        gather({layout.rows(0, false), depth, row_stride, step_stride, stride}, floats(padded), floats(rows), threads);
    });
    m.def("scatter", [](const Layout& layout, int64_t depth, int64_t row_stride, int64_t step_stride, int64_t stride,
                        Address rows, Address padded, int threads) {
        nb::gil_scoped_release released;
        scatter({layout.rows(0, false), depth, row_stride, step_stride, stride}, floats(rows), floats(padded), threads);
    });
    m.def("sum_by_index", [](const Layout& layout, Address index, Address tokens, int64_t stride, int64_t depth,
                             Address sums, int threads) {
        nb::gil_scoped_release released;
        sum_by_index({layout.rows(0, false), whole_numbers(index), floats(tokens), stride, depth, floats(sums)},
                     threads);
    });
}
