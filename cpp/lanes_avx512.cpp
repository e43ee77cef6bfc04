#define LANES 16
#define BLOCK 6
#include "lanes.hpp"

namespace cellgate {
extern const Width width_avx512;
const Width width_avx512 = {"avx512", forward_any, backward_any, project_any, multiply_any};
} // namespace cellgate
