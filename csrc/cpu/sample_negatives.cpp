// Exact and without rejection: draw a rank among a user's non-positives, find the item that has it.
#include "ops/sample_negatives.h"

#include "common/non_positive.h"
#include "cpu/noise.h"

namespace ans::cpu {
namespace {

// One row's draws; false if there is nothing to draw from.
bool sample_row(const SampleArgs& a, uint64_t seed, int64_t row) {
  const Allowed allowed = allowed_of(a, a.users[row]);
  if (allowed.count <= 0) return false;
  for (int64_t block = 0; 4 * block < a.n_negatives; ++block) draw_block(a, seed, allowed, row, block);
  return true;
}

}  // namespace

void ANS_ENTRY(sample_negatives)(const SampleArgs& args, const Threads& threads) {
  const int n_threads = threads_for(threads, args.n_rows * args.n_negatives, 1 << 11);
  const uint64_t seed = value_of(args.seed);
  int64_t failed = args.n_rows;
#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(min : failed)
  for (int64_t row = 0; row < args.n_rows; ++row) {
    if (!sample_row(args, seed, row) && row < failed) failed = row;
  }
  *args.failed = failed;
}

}  // namespace ans::cpu
