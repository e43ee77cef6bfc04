// Which vector widths this processor has.
#include "recurrence.hpp"

namespace cellgate {

extern const Width width_plain, width_avx2, width_avx512;

int widths(const Width** list) {
    static Width found[3];
    static const int count = [] {
        int n = 0;
#if defined(__x86_64__)
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
            found[n++] = width_avx512;
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found[n++] = width_avx2;
#endif
        found[n++] = width_plain;
        return n;
    }();
    *list = found;
    return count;
}

// torch links MKL on x86, which takes its AVX-512 path on Intel's processors only.
bool own_products() {
#if defined(__x86_64__)
    const Width* list;
    return widths(&list) > 1 && !__builtin_cpu_is("intel");
#else
    return false;
#endif
}

} // namespace cellgate
