#include "threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace cellgate {
namespace {

// Long enough to bridge the gap between two calls of a training step, short enough that a thread of another
// program or of torch gets the core: about 20 microseconds.
constexpr int spins = 600;

// How a processor rounds and whether it flushes denormals is a setting of each thread: parts computed here must
// have the caller's.
unsigned float_mode() {
#if defined(__x86_64__)
    return _mm_getcsr();
#else
    return 0;
#endif
}

void set_float_mode([[maybe_unused]] unsigned mode) {
#if defined(__x86_64__)
    _mm_setcsr(mode);
#endif
}

struct Job {
    void (*work)(void*, int);
    void* context;
    int parts;
    unsigned mode;
    std::atomic<int> next{0};     // part to be handed out
    std::atomic<int> helpers{0};  // threads that hold this job
    std::exception_ptr failure{}; // the first, under the pool's lock; told to the caller when all threads are done
};

void take_parts(Job& job) {
    for (int part; (part = job.next.fetch_add(1, std::memory_order_relaxed)) < job.parts;) job.work(job.context, part);
}

// Like take_parts, but a failure is handed back; no further part is begun then.
std::exception_ptr try_parts(Job& job) {
    try {
        take_parts(job);
        return nullptr;
    } catch (...) {
        job.next.store(job.parts, std::memory_order_relaxed);
        return std::current_exception();
    }
}

class Pool {
  public:
    void run(int threads, Job& job) {
        std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
        if (!owner.owns_lock()) return take_parts(job); // another caller has the threads
        {
            std::lock_guard<std::mutex> lock(mutex_);
            grow(threads - 1);
            wanted_ = threads - 1;
            job_ = &job;
            // Published under the lock: a worker that is about to sleep sees it first.
            epoch_.fetch_add(1, std::memory_order_release);
        }
        if (sleeping_.load(std::memory_order_seq_cst) > 0) wake_.notify_all();
        std::exception_ptr failure = try_parts(job);
        {
            // No thread joins from here on; those that did are waited for.
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = nullptr;
        }
        wait_for_helpers(job);
        if (failure == nullptr) failure = job.failure;
        if (failure != nullptr) std::rethrow_exception(failure);
    }

  private:
    // A system that gives no more threads leaves the work to those that are there.
    void grow(int wanted) {
        try {
            for (; workers_ < wanted; workers_++) std::thread([this, number = workers_] { serve(number); }).detach();
        } catch (const std::system_error&) {
        }
    }

    void wait_for_helpers(Job& job) {
        for (int i = 0; i < spins; i++) {
            if (job.helpers.load(std::memory_order_acquire) == 0) return;
            relax();
        }
        // Asleep and not yielding: an idle core is where the system moves the thread that is waited for.
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [&] { return job.helpers.load(std::memory_order_acquire) == 0; });
    }

    [[noreturn]] void serve(int number) {
        unsigned seen = 0;
        for (;;) {
            wait_for_news(seen);
            Job* job = nullptr;
            {
                std::lock_guard<std::mutex> lock(mutex_);
                seen = epoch_.load(std::memory_order_relaxed);
                if (job_ != nullptr && number < wanted_) {
                    job = job_;
                    job->helpers.fetch_add(1, std::memory_order_relaxed);
                }
            }
            if (job == nullptr) continue;
            set_float_mode(job->mode);
            std::exception_ptr failure = try_parts(*job);
            // Under the lock: the job may be gone the moment its owner sees no helpers. So is a failure let go, or this
            // thread would free it while the owner still reads it, in the eyes of the thread sanitizer.
            std::lock_guard<std::mutex> lock(mutex_);
            if (job->failure == nullptr) job->failure = std::move(failure);
            failure = nullptr;
            if (job->helpers.fetch_sub(1, std::memory_order_release) == 1) done_.notify_all();
        }
    }

    void wait_for_news(unsigned seen) {
        for (int i = 0; i < spins; i++) {
            if (epoch_.load(std::memory_order_acquire) != seen) return;
            relax();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return epoch_.load(std::memory_order_acquire) != seen; });
        sleeping_.fetch_sub(1, std::memory_order_seq_cst);
    }

    std::mutex owner_; // who may hand out a job
    std::mutex mutex_; // what follows
    std::condition_variable wake_, done_;
    std::atomic<unsigned> epoch_{0};
    std::atomic<int> sleeping_{0};
    Job* job_ = nullptr;
    int workers_ = 0;
    int wanted_ = 0;
};

// Never destroyed: threads may wait in it when the program ends. A forked child has none of its threads and takes
// a new one.
std::atomic<Pool*> pool{nullptr};

Pool& current() {
    static const bool hooked = [] {
        pool.store(new Pool);
        pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool); });
        return true;
    }();
    (void)hooked;
    return *pool.load();
}

} // namespace

void for_each_part(int threads, int parts, void (*work)(void*, int), void* context) {
    Job job{work, context, parts, float_mode()};
    threads = std::min(threads, parts);
    if (threads <= 1) return take_parts(job);
    current().run(threads, job);
}

} // namespace cellgate
