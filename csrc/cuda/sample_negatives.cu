// One thread draws a Philox block of four values of a row.
#include "cuda/sample_negatives.h"

#include "common/non_positive.h"
#include "common/philox.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 256;

// The items that may be drawn for a row: none where the user is no user or the graph is broken.
struct Allowed {
  const int32_t* positives;
  int64_t n_positives, first, count;
};

__device__ Allowed allowed_of(const SampleNegativesArgs& a, int64_t user) {
  if (user < 0 || user >= a.n_users) return {};
  const int64_t begin = a.indptr[user], end = a.indptr[user + 1], first = a.n_users + a.first_item;
  if (begin < 0 || begin > end || end > a.n_indices) return {};
  const int64_t skipped = a.first_item == 0 ? 0 : count_below(a.indices + begin, end - begin, first);
  const int64_t size = end - begin - skipped;
  return {a.indices + begin + skipped, size, first, a.n_items - a.first_item - size};
}

__global__ void __launch_bounds__(kThreads) sample_kernel(const SampleNegativesArgs a) {
  const int64_t blocks = (a.n_negatives + 3) / 4, total = a.n_rows * blocks;
  const uint64_t seed = a.seed.get();
  for (int64_t i = blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x; i < total;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t row = i / blocks, block = i % blocks;
    const Allowed allowed = allowed_of(a, a.users[row]);
    const PhiloxBlock draw =
        philox(seed, static_cast<uint64_t>(row), static_cast<uint32_t>(block), kSamplingStream);
    for (int j = 0; j < 4 && 4 * block + j < a.n_negatives; ++j) {
      int64_t item = -1;
      if (allowed.count > 0) {
        const int64_t rank = below(draw.word[j], static_cast<uint32_t>(allowed.count));
        item = nth_non_positive(allowed.positives, allowed.n_positives, allowed.first, rank) - a.n_users;
      }
      a.out[row * a.n_negatives + 4 * block + j] = item;
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
