// Which vector widths this processor has.
#include "recurrence.hpp"

#if defined(CELLGATE_TILES)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cellgate {

extern const Width width_plain, width_avx2, width_avx512, width_tiles;

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

#if defined(CELLGATE_TILES)
namespace {

// Linux lends a process the registers that it asks for: 8 KB more of a thread to save.
bool lent_tiles() {
    constexpr long ask = 0x1023, tile_data = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, ask, tile_data) == 0;
}

bool has_tiles() {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const bool tiles = d >> 24 & 1, of_bfloat16 = d >> 22 & 1;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d)) return false;
    const bool rounds = a >> 5 & 1; // vectors to bfloat16
    return tiles && of_bfloat16 && rounds;
}

} // namespace
#endif

const Width* rounding() {
#if defined(CELLGATE_TILES)
    const Width* list;
    static const bool found = widths(&list) > 2 && has_tiles() && lent_tiles(); // AVX-512 besides
    return found ? &width_tiles : nullptr;
#else
    return nullptr;
#endif
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
