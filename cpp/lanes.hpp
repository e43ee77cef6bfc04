// The recurrence for one vector width. Included by lanes_plain.cpp, lanes_avx2.cpp and lanes_avx512.cpp with
//   LANES    floats in a vector
//   BLOCK    rows whose gates are computed at once: BLOCK * 4 sums, 4 weights and a factor fill the registers
// lanes_tiles.cpp and lanes_pairs.cpp put rounded.hpp and matrix_rounded.hpp in place of two of its parts.
// docs/kernel.md says why it is laid out like this.
#pragma once

#include "matrix.hpp"
#include "steps.hpp"
