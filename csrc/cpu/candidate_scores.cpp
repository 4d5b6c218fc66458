// Several candidates' rows are read at a time where they lie, so that memory is waited for once for all of them. Both
// gradients are sums of rows with weights: a user's over its candidates, an item's over the pairs that it is a candidate
// of, in their order. Every sum has one owner: the same bits at any number of threads.
#include "ops/candidate_scores.h"

#include "cpu/groups.h"
#include "cpu/pack.h"

namespace ans::cpu {
namespace {

constexpr int kRows = 8;  // read at a time

// Calls some(at, rows) for stretches of [0, n): kRows long as long as there are that many, then 1, as constants.
template <typename Function>
ANS_PACKED void for_stretches(int64_t n, Function some) {
  int64_t at = 0;
  for (; at + kRows <= n; at += kRows) some(at, std::integral_constant<int, kRows>{});
  for (; at < n; ++at) some(at, std::integral_constant<int, 1>{});
}

// sums[i] = x·rows[i]
template <int Count, typename T>
ANS_PACKED void multiply(const T* x, const T* const (&rows)[Count], int64_t dim, Sum<T>* sums) {
  using S = Sum<T>;
  Pack<S> packs[Count];
  S rest[Count] = {};
  for_columns<S>(dim, [&](auto kind, int64_t d) __attribute__((always_inline)) {
    using V = decltype(kind);
    const V left = load<V>(x + d);
    for (int i = 0; i < Count; ++i) {
      const V product = left * load<V>(rows[i] + d);
      if constexpr (std::is_same_v<V, S>) rest[i] += product;
      else packs[i] += product;
    }
  });
  sum_each(packs, sums);
  for (int i = 0; i < Count; ++i) sums[i] += rest[i];
}

// to += Σ weights[i] rows[i]
template <int Count, typename T>
ANS_PACKED void add_rows(const T* const (&rows)[Count], const Sum<T> (&weights)[Count], int64_t dim, Sum<T>* to) {
  for_columns<Sum<T>>(dim, [&](auto kind, int64_t d) __attribute__((always_inline)) {
    using V = decltype(kind);
    V sum = load<V>(to + d);
    for (int i = 0; i < Count; ++i) sum += V(weights[i]) * load<V>(rows[i] + d);
    store(to + d, sum);
  });
}

template <typename T>
int threads_of(const ScoresArgs<T>& a, const Threads& threads) {
  return threads_for(threads, a.n_pairs * a.n_candidates * a.dim, 1 << 16);
}

template <typename T>
void forward(const ScoresArgs<T>& a, const Threads& threads) {
#pragma omp parallel for schedule(static) num_threads(threads_of(a, threads))
  for (int64_t pair = 0; pair < a.n_pairs; ++pair) {
    const int64_t first = pair * a.n_candidates;
    for_stretches(a.n_candidates, [&](int64_t at, auto count) {
      const T* rows[count];
      for (int i = 0; i < count; ++i) rows[i] = a.item_rows + a.candidates[first + at + i] * a.dim;
      multiply<count>(a.user_rows + pair * a.dim, rows, a.dim, a.scores + first + at);
    });
  }
}

template <typename T>
void backward(const ScoresBackwardArgs<T>& b, const Threads& threads) {
  const ScoresArgs<T>& a = b.inputs;
  const int n_threads = threads_of(a, threads);
  const int64_t n_entries = a.n_pairs * a.n_candidates;
  const Groups items(threads.memory, a.n_items, n_entries);
  group_by(items, [&](auto member) {
    for (int64_t entry = 0; entry < n_entries; ++entry) member(entry, a.candidates[entry]);
  });
#pragma omp parallel for schedule(static) num_threads(n_threads)
  for (int64_t pair = 0; pair < a.n_pairs; ++pair) {
    Sum<T>* const grad = b.grad_users + pair * a.dim;
    clear(grad, a.dim);
    for_stretches(a.n_candidates, [&](int64_t at, auto count) {
      const T* rows[count];
      Sum<T> weights[count];
      for (int i = 0; i < count; ++i) {
        const int64_t entry = pair * a.n_candidates + at + i;
        rows[i] = a.item_rows + a.candidates[entry] * a.dim;
        weights[i] = b.grad[entry];
      }
      add_rows<count>(rows, weights, a.dim, grad);
    });
  }
  for_each_group(items.start, a.n_items, n_threads, [&](int64_t item) {
    Sum<T>* const grad = b.grad_items + item * a.dim;
    clear(grad, a.dim);
    for_stretches(items.start[item + 1] - items.start[item], [&](int64_t at, auto count) {
      const T* rows[count];
      Sum<T> weights[count];
      for (int i = 0; i < count; ++i) {
        const int64_t entry = items.order[items.start[item] + at + i];
        rows[i] = a.user_rows + entry / a.n_candidates * a.dim;
        weights[i] = b.grad[entry];
      }
      add_rows<count>(rows, weights, a.dim, grad);
    });
  });
}

}  // namespace

ANS_DEFINE_ROW_KERNEL(candidate_scores, ScoresArgs, forward)
ANS_DEFINE_ROW_KERNEL(candidate_scores_backward, ScoresBackwardArgs, backward)

}  // namespace ans::cpu
