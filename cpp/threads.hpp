// Threads that wait for work a short while spinning and then asleep.
#pragma once

namespace cellgate {

// Calls work(context, part) for every part in [0, parts), on up to `threads` threads, the caller among them; returns
// when all are done. Parts are handed out one by one, so a thread that is slow or absent takes fewer.
// What `work` throws is thrown on when all threads are done. Safe from several threads at once (the second caller works
// alone) and after fork (the child starts anew).
void for_each_part(int threads, int parts, void (*work)(void*, int), void* context);

template <class Work> void parallel(int threads, int parts, Work&& work) {
    for_each_part(threads, parts, [](void* context, int part) { (*static_cast<Work*>(context))(part); }, &work);
}

// One wait of a spinning thread.
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

} // namespace cellgate
