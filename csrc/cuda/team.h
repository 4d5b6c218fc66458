// How a team of lanes works together on a row: sums over it, and what stands for an id that is none.
#pragma once

#include "cuda/rows.h"

namespace ans::cuda {

constexpr int kThreads = 128;
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
constexpr int kSums = 8;  // what reduce() adds up at a time, at most

// The shared memory that reduce() takes of a block.
template <int kTeam>
constexpr int kTeamSharedBytes = kTeam > kWarp ? kWarps * kSums * static_cast<int>(sizeof(float)) : 0;

// Adds each of the values over a team's lanes; every lane gets the sums.
template <int kTeam, int kCount>
__device__ __forceinline__ void reduce(float (&values)[kCount]) {
#pragma unroll
  for (int offset = (kTeam < kWarp ? kTeam : kWarp) / 2; offset > 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] += __shfl_xor_sync(kAllLanes, values[i], offset);
  }
  if (kTeam > kWarp) {
    static_assert(kCount <= kSums, "shared memory holds kSums values a warp");
    float* shared = dynamic_shared<float>();
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    if (threadIdx.x % kWarp == 0) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) shared[warp * kSums + i] = values[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      values[i] = shared[i];
      for (int other = 1; other < kWarps; ++other) values[i] += shared[other * kSums + i];
    }
    __syncthreads();
  }
}

// The id, or 0 for one that is not in [0, size); `sound` is then false.
__device__ __forceinline__ int64_t in_range(int64_t id, int64_t size, bool& sound) {
  const bool inside = id >= 0 && id < size;
  sound = sound && inside;
  return inside ? id : 0;
}

// a / b for a ≥ 0 and b > 0, by 32-bit division, far the shorter one on a GPU, where both allow it.
__device__ __forceinline__ int64_t quotient(int64_t a, int64_t b) {
  return (a | b) >> 32 ? a / b : static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
}

}  // namespace ans::cuda
