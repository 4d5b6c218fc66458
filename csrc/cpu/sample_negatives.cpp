// Exact and without rejection: draw a rank among a user's non-positives, find the item that has it.
#include "ops/sample_negatives.h"

#include "common/non_positive.h"
#include "cpu/noise.h"
#include "cpu/pack.h"

namespace ans::cpu {
namespace {

// Fetches what rows to come look at: users lie anywhere, and after a step little of the graph is left in the caches.
ANS_PACKED void fetch_ahead(const SampleArgs& a, int64_t row) {
  constexpr int64_t ahead = 8;
  const auto user_of = [&](int64_t r) {
    const int64_t user = r < a.n_rows ? a.users[r] : 0;
    return user >= 0 && user < a.n_users ? user : 0;
  };
  __builtin_prefetch(a.indptr + user_of(row + 2 * ahead));
  __builtin_prefetch(a.indices + a.indptr[user_of(row + ahead)]);
}

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
    fetch_ahead(args, row);
    if (!sample_row(args, seed, row) && row < failed) failed = row;
  }
  *args.failed = failed;
}

}  // namespace ans::cpu
