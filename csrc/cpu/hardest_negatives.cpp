// Scores rows where they lie and keeps the hardest: nothing is gathered, and the scores are not stored.
#include "ops/hardest_negatives.h"

#include <math.h>

#include "common/hardest.h"
#include "cpu/pack.h"

namespace ans::cpu {
namespace {

// u·n
template <typename T>
inline Sum<T> plain_score(const T* u, const T* n, int64_t dim) {
  return sum_columns<Sum<T>>(dim, [=](auto kind, int64_t d) {
    using V = decltype(kind);
    return load<V>(u + d) * load<V>(n + d);
  });
}

// u·(rest n − n ⊙ σ(item_gate + pos_gate))
template <typename T>
inline Sum<T> gated_score(const T* u, const T* n, const T* item_gate, const T* pos_gate, Sum<T> rest, int64_t dim) {
  return sum_columns<Sum<T>>(dim, [=](auto kind, int64_t d) {
    using V = decltype(kind);
    return gated_element(load<V>(u + d), load<V>(n + d), load<V>(item_gate + d), load<V>(pos_gate + d), V(rest));
  });
}

constexpr int64_t kAhead = 4;  // candidates between the one that is scored and the one whose rows are fetched

// The hardest of [M] candidates by scores T; the first where all scores are NaN.
template <typename T, typename Fetch, typename Score>
inline int64_t hardest_of(const int64_t* candidates, int64_t n_candidates, Fetch fetch, Score score_of) {
  Hardest<T, Nothing> hardest = no_hardest(static_cast<T>(-INFINITY), n_candidates);
  for (int64_t m = 0; m < n_candidates; ++m) {
    fetch(candidates[m + kAhead < n_candidates ? m + kAhead : m]);
    take(hardest, score_of(candidates[m]), m, {});
  }
  return candidates[hardest.id < n_candidates ? hardest.id : 0];
}

template <typename T>
void find_hardest(const HardestArgs<T>& a, const Threads& threads) {
  const int64_t row = a.n_hops * a.dim, dim = a.dim;
  const auto rest = static_cast<Sum<T>>(value_of(a.rest));
  const int n_threads = threads_for(threads, a.n_pairs * a.n_negatives * a.n_candidates * row, 1 << 16);
#pragma omp parallel for schedule(static) num_threads(n_threads)
  for (int64_t pair = 0; pair < a.n_pairs; ++pair) {
    for (int64_t k = pair * a.n_negatives; k < (pair + 1) * a.n_negatives; ++k) {
      const int64_t* candidates = a.candidates + k * a.n_candidates;
      for (int64_t hop = 0; hop < a.n_hops; ++hop) {
        const T *u = a.user_rows + pair * row + hop * dim, *items = a.item_hops + hop * dim;
        int64_t& hardest = a.hardest[k * a.n_hops + hop];
        if (a.item_gate == nullptr) {  // scores so short that the processor looks ahead far enough itself
          hardest = hardest_of<Sum<T>>(
              candidates, a.n_candidates, [](int64_t) {},
              [=](int64_t item) { return plain_score(u, items + item * row, dim); });
        } else {
          const T *item_gate = a.item_gate + hop * dim, *pos_gate = a.pos_gate + pair * row + hop * dim;
          hardest = hardest_of<Sum<T>>(
              candidates, a.n_candidates,
              [=](int64_t item) {
                prefetch_row(items + item * row, dim);
                prefetch_row(item_gate + item * row, dim);
              },
              [=](int64_t item) {
                return gated_score(u, items + item * row, item_gate + item * row, pos_gate, rest, dim);
              });
        }
      }
    }
  }
}

}  // namespace

ANS_DEFINE_ROW_KERNEL(hardest_negatives, HardestArgs, find_hardest)

}  // namespace ans::cpu
