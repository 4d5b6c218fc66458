// Exact and without rejection: draw a rank among a user's non-positives, find the item that has it.
#include "cpu/sample_negatives.h"

#include "common/non_positive.h"
#include "cpu/noise.h"

namespace ans::cpu {
namespace {

// One row's draws; false if there is nothing to draw from.
bool sample_row(const SampleNegativesArgs& a, int64_t row) {
  const Allowed allowed = allowed_of(a, a.users[row]);
  if (allowed.count <= 0) return false;
  for (int64_t block = 0; 4 * block < a.n_negatives; ++block) draw_block(a, a.seed, allowed, row, block);
  return true;
}

}  // namespace

int64_t ANS_ENTRY(sample_negatives)(const SampleNegativesArgs& args) {
  int64_t failed = args.n_rows;
#pragma omp parallel for num_threads(args.n_threads) schedule(static) reduction(min : failed)
  for (int64_t row = 0; row < args.n_rows; ++row) {
    if (!sample_row(args, row) && row < failed) failed = row;
  }
  return failed;
}

void ANS_ENTRY(ans_noise)(const NoiseArgs& args) {
#pragma omp parallel for num_threads(args.n_threads) schedule(static)
  for (int64_t row = 0; row < args.n_rows; ++row) draw_noise(args.seed, row, args.dim, args.out + row * args.dim);
}

}  // namespace ans::cpu
