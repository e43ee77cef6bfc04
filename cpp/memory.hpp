// Memory that is kept, and copies of floats. Included once for each vector width.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace cellgate {
namespace {

// Memory of a thread that is kept from call to call: a fresh page costs more than the work done on it.
class Arena {
  public:
    float* reserve(int64_t floats) {
        if (floats > size_) {
            size_ = (floats + floats / 4 + 15) / 16 * 16;
            memory_.reset();
            void* taken = std::aligned_alloc(64, static_cast<std::size_t>(size_) * sizeof(float));
            if (taken == nullptr) {
                size_ = 0;
                throw std::bad_alloc();
            }
            memory_.reset(static_cast<float*>(taken));
        }
        return memory_.get();
    }

  private:
    struct Free {
        void operator()(float* memory) const { std::free(memory); }
    };
    std::unique_ptr<float, Free> memory_;
    int64_t size_ = 0;
};

constexpr int64_t up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

inline void copy_floats(float* to, const float* from, int64_t count) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

inline void zero_floats(float* to, int64_t count) { std::fill_n(to, count, 0.0f); } // count 0: `to` may be null

} // namespace
} // namespace cellgate
