// The steps of every cell, for one kind of registers. Included once for each.
#pragma once

#include "backward.hpp"
#include "forward.hpp"

namespace cellgate {
namespace {

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
