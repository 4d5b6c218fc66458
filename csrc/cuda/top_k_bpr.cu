// A thread takes a pair; forward, one block adds up the losses, always in the same order.
#include "ops/top_k_bpr.h"

#include "common/top_k_bpr.h"
#include "cuda/platform.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 256;

unsigned grid_of(int64_t n_pairs) { return grid_for(n_pairs, kThreads, 8); }

template <typename T>
__global__ void __launch_bounds__(kThreads) loss_kernel(const TopKBprArgs<T> a, T* losses) {
  for (int64_t pair = thread_of_grid(); pair < a.n_pairs; pair += threads_of_grid())
    losses[pair] = loss_of_scores<T>(a.scores + pair * a.width, a.width, T(0), nullptr);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) mean_kernel(const T* losses, int64_t n_pairs, T* mean) {
  const int thread = static_cast<int>(threadIdx.x);
  double* sums = dynamic_shared<double>();  // [kThreads]
  sums[thread] = 0;
  for (int64_t pair = thread; pair < n_pairs; pair += kThreads) sums[thread] += losses[pair];
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  if (thread == 0) *mean = static_cast<T>(sums[0] / static_cast<double>(n_pairs));
}

template <typename T>
__global__ void __launch_bounds__(kThreads) gradient_kernel(const TopKBprBackwardArgs<T> b) {
  const TopKBprArgs<T>& a = b.inputs;
  const T weight = *b.grad / static_cast<T>(a.n_pairs);
  for (int64_t pair = thread_of_grid(); pair < a.n_pairs; pair += threads_of_grid()) {
    const int64_t at = pair * a.width;
    loss_of_scores(a.scores + at, a.width, weight, b.grad_scores + at);
  }
}

}  // namespace

template <typename T>
void top_k_bpr(const TopKBprArgs<T>& args, const Stream& stream) {
  T* const losses = take<T>(stream.memory, args.n_pairs);
  const dim3 threads(kThreads);
  if (args.n_pairs > 0) {
    ANS_LAUNCH(loss_kernel<T>, dim3(grid_of(args.n_pairs)), threads, 0, stream.stream, args, losses);
  }
  ANS_LAUNCH(mean_kernel<T>, dim3(1), threads, kThreads * sizeof(double), stream.stream, losses, args.n_pairs,
             args.loss);
}

template <typename T>
void top_k_bpr_backward(const TopKBprBackwardArgs<T>& args, const Stream& stream) {
  ANS_LAUNCH(gradient_kernel<T>, dim3(grid_of(args.inputs.n_pairs)), dim3(kThreads), 0, stream.stream, args);
}

template void top_k_bpr<float>(const TopKBprArgs<float>&, const Stream&);
template void top_k_bpr_backward<float>(const TopKBprBackwardArgs<float>&, const Stream&);

}  // namespace ans::cuda
