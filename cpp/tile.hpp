// What a tile of rounded factors is.
#pragma once

#include "vec.hpp"

namespace cellgate {
namespace {

constexpr int64_t DEEP = 32;  // factors of a tile's sum
constexpr int64_t FULL = 512; // factors of a tile: of the left matrix [16][DEEP], of the right [DEEP / 2][16][2]
static_assert(LANES == 16 && BLOCK == 16, "a tile has 16 rows, each a vector");

} // namespace
} // namespace cellgate
