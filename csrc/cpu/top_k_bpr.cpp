// A pair's loss is a few exponentials and a logarithm. They are added up in double, in the pairs' order.
#include "ops/top_k_bpr.h"

#include "common/top_k_bpr.h"

namespace ans::cpu {
namespace {

template <typename T>
int threads_of(const TopKBprArgs<T>& a, const Threads& threads) {
  return threads_for(threads, a.n_pairs * a.width, 1 << 11);
}

template <typename T>
void forward(const TopKBprArgs<T>& a, const Threads& threads) {
  T* const losses = take<T>(threads.memory, a.n_pairs);
#pragma omp parallel for schedule(static) num_threads(threads_of(a, threads))
  for (int64_t pair = 0; pair < a.n_pairs; ++pair)
    losses[pair] = loss_of_scores<T>(a.scores + pair * a.width, a.width, T(0), nullptr);
  double sum = 0;
  for (int64_t pair = 0; pair < a.n_pairs; ++pair) sum += losses[pair];
  *a.loss = static_cast<T>(sum / static_cast<double>(a.n_pairs));
}

template <typename T>
void backward(const TopKBprBackwardArgs<T>& b, const Threads& threads) {
  const TopKBprArgs<T>& a = b.inputs;
  const T weight = *b.grad / static_cast<T>(a.n_pairs);
#pragma omp parallel for schedule(static) num_threads(threads_of(a, threads))
  for (int64_t pair = 0; pair < a.n_pairs; ++pair) {
    const int64_t at = pair * a.width;
    loss_of_scores(a.scores + at, a.width, weight, b.grad_scores + at);
  }
}

}  // namespace

ANS_DEFINE_FLOAT_KERNEL(top_k_bpr, TopKBprArgs, forward)
ANS_DEFINE_FLOAT_KERNEL(top_k_bpr_backward, TopKBprBackwardArgs, backward)

}  // namespace ans::cpu
