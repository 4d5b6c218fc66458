// Scratch memory of a kernel: from whoever calls it, until the operator returns.
#pragma once

#include <cstdint>

#include "inline.h"

namespace ans {

struct Memory {
  void* (*allocate)(void* owner, int64_t bytes);
  void* owner;
};

// `count` values, uninitialised, at a multiple of 64 bytes.
template <typename T>
static inline T* take(const Memory& memory, int64_t count) {
  return static_cast<T*>(memory.allocate(memory.owner, count * static_cast<int64_t>(sizeof(T))));
}

}  // namespace ans
