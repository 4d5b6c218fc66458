// What the kernels of an operator have in common, and how they are declared: once, for both devices.
//
// ANS_KERNEL(name, Args) declares cpu::name(const Args&, const Threads&) where kernels are compiled for the CPU, and
// cuda::name(const Args&, const Stream&) where they are compiled for CUDA (or for tests/simt). ANS_ROW_KERNEL does so for
// Args<T> with every type T that rows have on the device, ANS_HOP_KERNEL besides with Shortened<T>, ANS_FLOAT_KERNEL
// with those of more than 16 bits: float, on the CPU also double. A kernel takes its scratch from Threads or Stream.
#pragma once

#include <cstdint>

#include "common/inline.h"
#include "common/memory.h"

#if defined(__CUDACC__) || defined(ANS_SIMT)
#include "cuda/platform.h"
#define ANS_KERNEL(name, Args) \
  namespace cuda {             \
  void name(const Args& args, const Stream& stream); \
  }
#define ANS_ROW_KERNEL(name, Args)                      \
  namespace cuda {                                      \
  template <typename T>                                 \
  void name(const Args<T>& args, const Stream& stream); \
  }
#define ANS_FLOAT_KERNEL(name, Args) ANS_ROW_KERNEL(name, Args)
#define ANS_HOP_KERNEL(name, Args) ANS_ROW_KERNEL(name, Args)
#else
#include "cpu/simd.h"
#endif

namespace ans {

// What rows of T are summed up in: float32 for 16-bit rows, otherwise T.
template <typename T>
struct SumOf {
  using Type = float;
};
template <>
struct SumOf<double> {
  using Type = double;
};
template <typename T>
using Sum = typename SumOf<T>::Type;

// Rows of float32 of which what is kept in between is stored as S, of 16 bits.
template <typename S>
struct Shortened {};

// What rows of T are for the caller, and in between.
template <typename T>
struct RowsOf {
  using Outer = T;
  using Stored = T;
};
template <typename S>
struct RowsOf<Shortened<S>> {
  using Outer = float;
  using Stored = S;
};
template <typename T>
using Outer = typename RowsOf<T>::Outer;
template <typename T>
using Stored = typename RowsOf<T>::Stored;

// A number known at launch, or one that is read where the kernel runs, so that a captured graph can be replayed with
// another.
template <typename T>
struct Number {
  const T* address;  // or null
  T value;
};

template <typename T>
ANS_INLINE T value_of(const Number<T>& number) {
  return number.address ? *number.address : number.value;
}

using Seed = Number<int64_t>;  // of which kernels take the bits

// Ids ascending, and where each stood; null: not wanted.
struct SortedIds {
  const int64_t *ids, *order;
};

// Stands for an item where there is none to give: no index at all, so that nobody takes it for one.
constexpr int64_t kNoItem = INT64_MAX;

}  // namespace ans
