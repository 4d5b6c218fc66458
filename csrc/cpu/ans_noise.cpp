// Rows of noise, each drawn by one thread.
#include "ops/ans_noise.h"

#include "cpu/noise.h"

namespace ans::cpu {

void ANS_ENTRY(ans_noise)(const NoiseArgs& args, const Threads& threads) {
  const int n_threads = threads_for(threads, args.n_rows * args.dim, 1 << 14);
  const uint64_t seed = value_of(args.seed);
#pragma omp parallel for num_threads(n_threads) schedule(static)
  for (int64_t row = 0; row < args.n_rows; ++row) draw_noise(seed, row, args.dim, args.out + row * args.dim);
}

}  // namespace ans::cpu
