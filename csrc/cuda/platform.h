// What the kernels are compiled against: CUDA under nvcc; elsewhere tests/simt, which runs the same files on the CPU.
#pragma once

#include <cstdint>

#include "common/inline.h"
#include "common/memory.h"

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdexcept>

#define ANS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  (kernel<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__), ans::cuda::check_launch())

namespace ans::cuda {

inline void check_launch() {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// to[0, count) = 0
inline void clear(float* to, int64_t count, cudaStream_t stream) {
  cudaMemsetAsync(to, 0, count * sizeof(float), stream);
  check_launch();
}

template <typename T>
__device__ inline T* dynamic_shared() {
  extern __shared__ float4 ans_shared[];
  return reinterpret_cast<T*>(ans_shared);
}

// Multiprocessors of the current device.
inline int multiprocessors() {
  int device = 0, count = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

}  // namespace ans::cuda

#else

#include "cuda_names.h"

#define ANS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  (static_cast<void>(stream), simt::launch((grid), (block), (shared_bytes), [&] { kernel(__VA_ARGS__); }))

namespace ans::cuda {

inline void clear(float* to, int64_t count, cudaStream_t) { std::fill_n(to, count, 0.0f); }

template <typename T>
T* dynamic_shared() {
  return static_cast<T*>(simt::Block::current()->shared());
}

inline int multiprocessors() { return simt::multiprocessors; }

}  // namespace ans::cuda

#endif

namespace ans::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int64_t kMaxDim = 1024;  // of the longest row that a team of lanes holds (rows.h)

// Blocks for `work`, of which each does `a_block`.
inline unsigned blocks_for(int64_t work, int64_t a_block) {
  return static_cast<unsigned>((work + a_block - 1) / a_block);
}

// The same for kernels that stride over the grid: `a_processor` for each multiprocessor at most.
inline unsigned grid_for(int64_t work, int64_t a_block, int64_t a_processor) {
  const int64_t blocks = (work + a_block - 1) / a_block, most = multiprocessors() * a_processor;
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

// This thread among all of the grid, and how many they are, where blocks have one dimension.
__device__ __forceinline__ int64_t thread_of_grid() {
  return blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
}
__device__ __forceinline__ int64_t threads_of_grid() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Where a kernel runs.
struct Stream {
  cudaStream_t stream;
  Memory memory;
};

}  // namespace ans::cuda
