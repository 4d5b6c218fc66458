// Sums in float32 of values that are stored as T: made in their place where T is float32, else beside it and rounded.
#pragma once

#include <type_traits>

#include "cuda/rows.h"

namespace ans::cuda {
namespace {

constexpr int kRoundingThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kRoundingThreads) round_kernel(const float* sums, int64_t size, T* out) {
  for (int64_t i = thread_of_grid(); i < size; i += threads_of_grid()) out[i] = from_float<T>(sums[i]);
}

template <typename T>
float* sums_of(T* out, int64_t size, const Stream& stream) {
  if constexpr (std::is_same_v<T, float>) return out;
  else return take<float>(stream.memory, size);
}

template <typename T>
void store_sums(T* out, const float* sums, int64_t size, const Stream& stream) {
  if constexpr (!std::is_same_v<T, float>) {
    if (size == 0) return;
    ANS_LAUNCH(round_kernel<T>, dim3(grid_for(size, kRoundingThreads, 16)), dim3(kRoundingThreads), 0, stream.stream,
               sums, size, out);
  }
}

}  // namespace
}  // namespace ans::cuda
