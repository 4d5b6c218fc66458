// One thread draws a Philox block of four values of a row.
#include "ops/sample_negatives.h"

#include "common/non_positive.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) sample_kernel(const SampleArgs a) {
  const int64_t blocks = (a.n_negatives + 3) / 4, total = a.n_rows * blocks;
  const uint64_t seed = value_of(a.seed);
  for (int64_t i = thread_of_grid(); i < total; i += threads_of_grid()) {
    const int64_t row = i / blocks, block = i % blocks;
    const Allowed allowed = allowed_of(a, a.users[row]);
    if (allowed.count > 0) {
      draw_block(a, seed, allowed, row, block);
    } else {
      for (int64_t m = 4 * block; m < 4 * block + 4 && m < a.n_negatives; ++m) a.out[row * a.n_negatives + m] = kNoItem;
    }
  }
}

}  // namespace

void sample_negatives(const SampleArgs& args, const Stream& stream) {
  const int64_t total = args.n_rows * ((args.n_negatives + 3) / 4);
  if (total == 0) return;
  ANS_LAUNCH(sample_kernel, dim3(grid_for(total, kThreads, 16)), dim3(kThreads), 0, stream.stream, args);
}

}  // namespace ans::cuda
