#define LANES 4
#define BLOCK 3
#include "lanes.hpp"

namespace cellgate {
extern const Width width_plain;
const Width width_plain = {"plain", forward_any, backward_any, project_any, multiply_any};
} // namespace cellgate
