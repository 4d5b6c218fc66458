// One thread draws a Philox block of four values of a row.
#include "cuda/sample_negatives.h"

#include "common/non_positive.h"
#include "common/philox.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) sample_kernel(const SampleNegativesArgs a) {
  const int64_t blocks = (a.n_negatives + 3) / 4, total = a.n_rows * blocks;
  const uint64_t seed = a.seed.get();
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < total;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t row = i / blocks, block = i % blocks;
    const Allowed allowed = allowed_of(a, a.users[row]);
    if (allowed.count > 0) {
      draw_block(a, seed, allowed, row, block);
    } else {
      for (int64_t m = 4 * block; m < 4 * block + 4 && m < a.n_negatives; ++m) a.out[row * a.n_negatives + m] = -1;
    }
  }
}

__global__ void __launch_bounds__(kThreads) noise_kernel(const NoiseArgs a) {
  const int64_t blocks = (a.dim + 3) / 4, total = a.n_rows * blocks;
  const uint64_t seed = a.seed.get();
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < total;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t row = i / blocks, block = i % blocks;
    const PhiloxBlock draw = philox(seed, static_cast<uint64_t>(row), static_cast<uint32_t>(block), kNoiseStream);
    for (int j = 0; j < 4 && 4 * block + j < a.dim; ++j) a.out[row * a.dim + 4 * block + j] = unit_float(draw.word[j]);
  }
}

int64_t blocks_of(int64_t n_rows, int64_t width) { return (n_rows * ((width + 3) / 4) + kThreads - 1) / kThreads; }

}  // namespace

void sample_negatives(const SampleNegativesArgs& args, cudaStream_t stream) {
  const int64_t blocks = blocks_of(args.n_rows, args.n_negatives);
  if (blocks == 0) return;
  ANS_LAUNCH(sample_kernel, dim3(grid_for(blocks, 16)), dim3(kThreads), 0, stream, args);
}

void ans_noise(const NoiseArgs& args, cudaStream_t stream) {
  const int64_t blocks = blocks_of(args.n_rows, args.dim);
  if (blocks == 0) return;
  ANS_LAUNCH(noise_kernel, dim3(grid_for(blocks, 16)), dim3(kThreads), 0, stream, args);
}

}  // namespace ans::cuda
