#define LANES 16
#define BLOCK 16 // rows of a tile
#define ROUNDED
#include "pairs.hpp" // before what multiplies by it

#include "matrix_rounded.hpp"
#include "steps.hpp"

namespace cellgate {
extern const Width width_pairs;
const Width width_pairs = {"pairs", forward_any, backward_any, nullptr, multiply_rounded};
} // namespace cellgate
