// The steps of every cell, for one kind of registers. Included once for each.
#pragma once

#include "backward.hpp"
#include "forward.hpp"

namespace cellgate {
namespace {

// Call work(C()) with the equations of a cell.
template <class Work> void with_cell(Cell cell, Work&& work) {
    switch (cell) {
    case Cell::lstm: return work(Lstm());
    case Cell::gru: return work(Gru());
    case Cell::rnn: return work(Rnn());
    case Cell::peephole: return work(Peephole());
    }
}

void forward_any(const Forward& call, int threads) {
    with_cell(call.cell, [&](auto cell) { forward<decltype(cell)>(call, threads); });
}

void backward_any(const Backward& call, int threads) {
    with_cell(call.cell, [&](auto cell) { backward<decltype(cell)>(call, threads); });
}

} // namespace
} // namespace cellgate
