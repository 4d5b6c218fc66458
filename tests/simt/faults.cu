// Kernels with one fault each, and sound ones, to test the harness with. Every one of them writes out[thread].
#include <string>

#include "cuda/platform.h"

namespace {

using ans::cuda::dynamic_shared;
using ans::cuda::kAllLanes;

// Sound: every thread gets the sum of 0 … n − 1 by shuffles and shared memory.
__global__ void block_sum(float* out) {
  float* shared = dynamic_shared<float>();
  float sum = static_cast<float>(threadIdx.x);
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += shared[warp];
  out[threadIdx.x] = sum;
}

// Sound: halves of a warp that take different ways, each with its own mask.
__global__ void half_masks(float* out) {
  const unsigned lane = threadIdx.x % 32;
  float value = static_cast<float>(lane);
  if (lane < 16) value = __shfl_xor_sync(0x0000ffffu, value, 1);
  else value = __shfl_xor_sync(0xffff0000u, value, 2);
  out[threadIdx.x] = value + 100.0f * static_cast<float>(__popc(__ballot_sync(kAllLanes, lane % 2 == 0)));
}

__global__ void no_barrier(float* out) {
  float* shared = dynamic_shared<float>();
  shared[threadIdx.x] = static_cast<float>(threadIdx.x);
  out[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void one_barrier_of_two(float* out) {
  float* shared = dynamic_shared<float>();
  float sum = 0.0f;
  for (int round = 0; round < 2; ++round) {
    shared[threadIdx.x] = static_cast<float>(threadIdx.x + 1000 * round);
    __syncthreads();
    sum += shared[(threadIdx.x + 1) % blockDim.x] - static_cast<float>(1000 * round);
  }
  out[threadIdx.x] = sum / 2;
}

__global__ void absent_thread(float* out) {
  if (threadIdx.x != 7) __syncthreads();
  out[threadIdx.x] = 0.0f;
}

__global__ void divergent_barrier(float* out) {
  if (threadIdx.x < 32) __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 0.0f;
}

__global__ void lying_mask(float* out) {
  if (threadIdx.x % 2 == 0) out[threadIdx.x] = __shfl_sync(kAllLanes, 1.0f, 0);
}

__global__ void own_lane_missing(float* out) { out[threadIdx.x] = __shfl_sync(0x0000fffeu, 1.0f, 1); }

__global__ void reads_outside_mask(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f, 16);
}

__global__ void different_lengths(float* out) {
  float sum = 0.0f;
  for (unsigned i = 0; i <= threadIdx.x % 2; ++i) sum += __shfl_xor_sync(kAllLanes, 1.0f, 1);
  out[threadIdx.x] = sum;
}

__global__ void writes_past_end(float* out) { out[threadIdx.x + 1] = 0.0f; }

__global__ void reads_past_shared(float* out) {
  float* shared = dynamic_shared<float>();
  shared[threadIdx.x] = 0.0f;
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x + 1];
}

__global__ void misaligned_load(float* out) {
  const float4 four = *reinterpret_cast<const float4*>(out + 1);
  out[threadIdx.x] = four.x;
}

std::string failure;

}  // namespace

extern "C" {

const char* last_failure() { return failure.c_str(); }
void set_order(int order) { simt::order = static_cast<simt::Order>(order); }

#define LAUNCHER(kernel)                                                                        \
  int run_##kernel(float* out, int threads, int shared_bytes) {                                 \
    try {                                                                                       \
      ANS_LAUNCH(kernel, dim3(1), dim3(static_cast<unsigned>(threads)), shared_bytes, nullptr, out); \
      return 0;                                                                                 \
    } catch (const simt::Failure& caught) {                                                     \
      failure = caught.what();                                                                  \
      return 1;                                                                                 \
    }                                                                                           \
  }
LAUNCHER(block_sum)
LAUNCHER(half_masks)
LAUNCHER(no_barrier)
LAUNCHER(one_barrier_of_two)
LAUNCHER(absent_thread)
LAUNCHER(divergent_barrier)
LAUNCHER(lying_mask)
LAUNCHER(own_lane_missing)
LAUNCHER(reads_outside_mask)
LAUNCHER(different_lengths)
LAUNCHER(writes_past_end)
LAUNCHER(reads_past_shared)
LAUNCHER(misaligned_load)

}  // extern "C"
