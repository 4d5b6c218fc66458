// A pair's loss is a few exponentials and a logarithm. They are added up in double, in the pairs' order.
#include "ops/top_k_bpr.h"

#include <type_traits>

#include "common/top_k_bpr.h"

namespace ans::cpu {
namespace {

// Calls pair(b, W) for all pairs. Of one negative, as a constant, so that registers take several pairs.
template <typename T, typename Function>
void for_each_pair(const TopKBprArgs<T>& a, const Threads& threads, Function pair) {
  const int n_threads = threads_for(threads, a.n_pairs * a.width, 1 << 14);
  if (a.width == 2) {
#pragma omp parallel for simd schedule(static) num_threads(n_threads)
    for (int64_t b = 0; b < a.n_pairs; ++b) pair(b, std::integral_constant<int64_t, 2>{});
  } else {
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t b = 0; b < a.n_pairs; ++b) pair(b, a.width);
  }
}

template <typename T>
void forward(const TopKBprArgs<T>& a, const Threads& threads) {
  T* const losses = take<T>(threads.memory, a.n_pairs);
  for_each_pair(a, threads, [=](int64_t b, auto width) __attribute__((always_inline)) {
    losses[b] = loss_of_scores<T>(a.scores + b * width, width, T(0), nullptr);
  });
  double sum = 0;
  for (int64_t b = 0; b < a.n_pairs; ++b) sum += losses[b];
  *a.loss = static_cast<T>(sum / static_cast<double>(a.n_pairs));
}

template <typename T>
void backward(const TopKBprBackwardArgs<T>& args, const Threads& threads) {
  const TopKBprArgs<T>& a = args.inputs;
  const T weight = *args.grad / static_cast<T>(a.n_pairs), *const scores = a.scores;
  T* const grad = args.grad_scores;
  for_each_pair(a, threads, [=](int64_t b, auto width) __attribute__((always_inline)) {
    loss_of_scores<T>(scores + b * width, width, weight, grad + b * width);
  });
}

}  // namespace

ANS_DEFINE_FLOAT_KERNEL(top_k_bpr, TopKBprArgs, forward)
ANS_DEFINE_FLOAT_KERNEL(top_k_bpr_backward, TopKBprBackwardArgs, backward)

}  // namespace ans::cpu
