#define LANES 8
#define BLOCK 3
#include "lanes.hpp"

namespace cellgate {
extern const Width width_avx2;
const Width width_avx2 = {"avx2", forward_any, backward_any, project_any, multiply_any};
} // namespace cellgate
