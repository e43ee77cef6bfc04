// Which vector widths this processor has.
#include "recurrence.hpp"

#if defined(CELLGATE_PAIRS)
#include <cpuid.h>
#endif
#if defined(CELLGATE_TILES)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cellgate {

extern const Width width_plain, width_avx2, width_avx512, width_pairs, width_tiles;

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

namespace {

#if defined(CELLGATE_PAIRS)
bool has_pairs() {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}
#endif

#if defined(CELLGATE_TILES)
bool has_tiles() {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const bool tiles = d >> 24 & 1, of_bfloat16 = d >> 22 & 1;
    return tiles && of_bfloat16;
}

// Linux lends a process the registers that it asks for: 8 KB more of a thread to save.
bool lent_tiles() {
    constexpr long ask = 0x1023, tile_data = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, ask, tile_data) == 0;
}
#endif

} // namespace

int rounding_widths(const Width** list) {
    static Width found[2];
    static const int count = [] {
        int n = 0;
#if defined(CELLGATE_PAIRS)
        const Width* exact;
        if (widths(&exact) < 3 || !has_pairs()) return n; // AVX-512 besides; tiles are filled by what makes pairs
#if defined(CELLGATE_TILES)
        if (has_tiles() && lent_tiles()) found[n++] = width_tiles;
#endif
        found[n++] = width_pairs;
        for (Width& width : found) width.project = exact[0].project;
#endif
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
