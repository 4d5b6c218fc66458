// How a team of lanes works together on a row, and teams on a task: sums over both, and what stands for an id that is
// none.
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

// A warp, or a block where rows are longer than 256, whose teams share a task.
template <int kTeam>
struct Unit {
  static constexpr int kSize = kTeam < kWarp ? kWarp : kTeam;
  static constexpr int kUnits = kThreads / kSize;  // a block
  static constexpr int kTeams = kSize / kTeam;     // a unit
  static_assert(kSize <= kThreads, "a unit is at most a block");

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % kTeam; }
  static __device__ int team() { return static_cast<int>(threadIdx.x) % kSize / kTeam; }
  static __device__ bool leads() { return threadIdx.x % kSize == 0; }
  static __device__ int64_t first_task() { return blockIdx.x * static_cast<int64_t>(kUnits) + threadIdx.x / kSize; }
  static __device__ int64_t stride() { return static_cast<int64_t>(gridDim.x) * kUnits; }
};

// Adds each lane's values over the unit's teams; every lane gets the sums.
template <int kTeam, int kCount>
__device__ __forceinline__ void merge_teams(float (&values)[kCount]) {
#pragma unroll
  for (int offset = kTeam; offset < kWarp; offset *= 2) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) values[i] += __shfl_xor_sync(kAllLanes, values[i], offset);
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
