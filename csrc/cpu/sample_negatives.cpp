// Exact and without rejection: draw a rank among a user's non-positives, find the item that has it.
#include "cpu/sample_negatives.h"

#include "common/non_positive.h"
#include "cpu/noise.h"

namespace ans::cpu {
namespace {

// One row's draws; false if there is nothing to draw from.
bool sample_row(const SampleNegativesArgs& a, int64_t row) {
  const int64_t user = a.users[row];
  if (user < 0 || user >= a.n_users) return false;
  const int64_t begin = a.indptr[user], end = a.indptr[user + 1];
  if (begin < 0 || begin > end || end > a.n_indices) return false;

  const int64_t first = a.n_users + a.first_item;
  const int64_t skipped = a.first_item == 0 ? 0 : count_below(a.indices + begin, end - begin, first);
  const int32_t* positives = a.indices + begin + skipped;
  const int64_t size = end - begin - skipped;
  const int64_t n_allowed = a.n_items - a.first_item - size;
  if (n_allowed <= 0) return false;

  int64_t* out = a.out + row * a.n_negatives;
  for (int64_t m = 0; m < a.n_negatives; m += 4) {
    const PhiloxBlock block = philox(a.seed, row, m / 4, kSamplingStream);
    for (int64_t j = 0; j < 4 && m + j < a.n_negatives; ++j) {
      const int64_t rank = below(block.word[j], n_allowed);
      out[m + j] = nth_non_positive(positives, size, first, rank) - a.n_users;
    }
  }
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
