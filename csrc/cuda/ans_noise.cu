// One thread draws a Philox block of four values of a row.
#include "ops/ans_noise.h"

#include "common/philox.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) noise_kernel(const NoiseArgs a) {
  const int64_t blocks = (a.dim + 3) / 4, total = a.n_rows * blocks;
  const uint64_t seed = value_of(a.seed);
  for (int64_t i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const int64_t row = i / blocks, block = i % blocks;
    const PhiloxBlock draw = philox(seed, static_cast<uint64_t>(row), static_cast<uint32_t>(block), kNoiseStream);
    for (int j = 0; j < 4 && 4 * block + j < a.dim; ++j) a.out[row * a.dim + 4 * block + j] = unit_float(draw.word[j]);
  }
}

}  // namespace

void ans_noise(const NoiseArgs& args, const Stream& stream) {
  const int64_t total = args.n_rows * ((args.dim + 3) / 4);
  if (total == 0) return;
  ANS_LAUNCH(noise_kernel, dim3(grid_for(total, kThreads, 16)), dim3(kThreads), 0, stream.stream, args);
}

}  // namespace ans::cuda
