// The BPR loss of clicked items' scores against those of their negatives, of which harder ones weigh more.
#pragma once

#include "common/kernel.h"

namespace ans {

// B pairs of W scores each, the clicked item's first.
template <typename T>
struct TopKBprArgs {
  const T* scores;  // [B, W]
  int64_t n_pairs, width;
  T* loss;  // [1], the mean over pairs; NaN where there is none
};
ANS_FLOAT_KERNEL(top_k_bpr, TopKBprArgs)

template <typename T>
struct TopKBprBackwardArgs {
  TopKBprArgs<T> inputs;  // without loss
  const T* grad;          // [1], of the loss
  T* grad_scores;         // [B, W]
};
ANS_FLOAT_KERNEL(top_k_bpr_backward, TopKBprBackwardArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include "ops/call.h"

namespace ans::ops {

constexpr char kTopKBpr[] = "top_k_bpr(Tensor scores) -> Tensor";
constexpr char kTopKBprBackward[] = "top_k_bpr_backward(Tensor grad, Tensor scores) -> Tensor";

template <typename T, typename Device>
TopKBprArgs<T> bpr_inputs(Call<Device>& call, const Tensor& scores) {
  TopKBprArgs<T> args = {};
  args.scores = call.template values<T>(scores, "scores", "[B, W]", {-1, -1});
  args.n_pairs = scores.size(0);
  args.width = scores.size(1);
  check_range("scores' W", args.width, 2, INT64_MAX);
  return args;
}

template <typename Device>
Tensor top_k_bpr(Tensor scores) {
  Call<Device> call(scores, "scores");
  return call.with_float_type([&](auto zero) {
    using T = decltype(zero);
    TopKBprArgs<T> args = bpr_inputs<T>(call, scores);
    const auto out = call.template output<T>(Sizes{});
    args.loss = out.data;
    top_k_bpr(args, call.where());
    return out.tensor;
  });
}

template <typename Device>
Tensor top_k_bpr_backward(Tensor grad, Tensor scores) {
  Call<Device> call(scores, "scores");
  return call.with_float_type([&](auto zero) {
    using T = decltype(zero);
    TopKBprBackwardArgs<T> args = {};
    args.inputs = bpr_inputs<T>(call, scores);
    args.grad = call.template values<T>(grad, "grad", "a scalar", Sizes{});
    const auto out = call.template output<T>({args.inputs.n_pairs, args.inputs.width});
    args.grad_scores = out.data;
    if (args.inputs.n_pairs > 0) top_k_bpr_backward(args, call.where());
    return out.tensor;
  });
}

}  // namespace ans::ops
#endif
