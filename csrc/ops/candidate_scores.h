// Of each pair's candidates the scores: products of a user's row with rows of a table of items, which are not gathered.
#pragma once

#include "common/kernel.h"

namespace ans {

// B pairs, M candidates for each of them, D values a row.
template <typename T>
struct ScoresArgs {
  const T* user_rows;         // [B, D]
  const T* item_rows;         // [n_items, D]
  const int64_t* candidates;  // [B, M]
  int64_t n_items, n_pairs, n_candidates, dim;
  Sum<T>* scores;  // [B, M]; on a GPU NaN for candidates out of [0, n_items)
};
ANS_ROW_KERNEL(candidate_scores, ScoresArgs)

template <typename T>
struct ScoresBackwardArgs {
  ScoresArgs<T> inputs;  // without scores
  const Sum<T>* grad;    // [B, M], of the scores
  SortedIds sorted;      // the candidates, where a GPU's sums shall have one order; else null
  Sum<T>* grad_users;    // [B, D]
  Sum<T>* grad_items;    // [n_items, D]
};
ANS_ROW_KERNEL(candidate_scores_backward, ScoresBackwardArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include <tuple>

#include "ops/call.h"

namespace ans::ops {

constexpr char kCandidateScores[] =
    "candidate_scores(Tensor user_rows, Tensor item_rows, Tensor candidates) -> Tensor";
constexpr char kCandidateScoresBackward[] =
    "candidate_scores_backward(Tensor grad, Tensor user_rows, Tensor item_rows, Tensor candidates, "
    "bool deterministic) -> (Tensor, Tensor)";

template <typename T, typename Device>
ScoresArgs<T> scores_inputs(Call<Device>& call, const Tensor& user_rows, const Tensor& item_rows,
                            const Tensor& candidates) {
  ScoresArgs<T> args = {};
  args.user_rows = call.template rows<T>(user_rows, "user_rows", "[B, D]", {-1, -1});
  args.n_pairs = user_rows.size(0);
  args.dim = user_rows.size(1);
  check_range("user_rows' D", args.dim, 0, Device::kMaxDim);
  args.item_rows = call.template rows<T>(item_rows, "item_rows", "[n_items, D]", {-1, args.dim});
  args.n_items = item_rows.size(0);
  args.candidates = call.ids(candidates, "candidates", "[B, M]", {args.n_pairs, -1});
  args.n_candidates = candidates.size(1);
  if (candidates.numel() > 0) check_range("item_rows' n_items", args.n_items, 1, INT64_MAX);
  if constexpr (Device::kReadsIds) check_ids_below(args.candidates, candidates.numel(), "candidates", args.n_items);
  return args;
}

template <typename Device>
Tensor candidate_scores(Tensor user_rows, Tensor item_rows, Tensor candidates) {
  Call<Device> call(user_rows, "user_rows");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    ScoresArgs<T> args = scores_inputs<T>(call, user_rows, item_rows, candidates);
    const auto out = call.template output<Sum<T>>({args.n_pairs, args.n_candidates});
    args.scores = out.data;
    if (out.tensor.numel() > 0) candidate_scores(args, call.where());
    return out.tensor;
  });
}

template <typename Device>
std::tuple<Tensor, Tensor> candidate_scores_backward(Tensor grad, Tensor user_rows, Tensor item_rows,
                                                     Tensor candidates, bool deterministic) {
  Call<Device> call(user_rows, "user_rows");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    ScoresBackwardArgs<T> args = {};
    args.inputs = scores_inputs<T>(call, user_rows, item_rows, candidates);
    const int64_t n_pairs = args.inputs.n_pairs, n_items = args.inputs.n_items, dim = args.inputs.dim;
    args.grad = call.template values<Sum<T>>(grad, "grad", "[B, M]", {n_pairs, args.inputs.n_candidates});
    if (Device::kAtomics && deterministic) args.sorted = call.sorted(candidates);
    const auto grad_users = call.template output<Sum<T>>({n_pairs, dim});
    const auto grad_items = call.template output<Sum<T>>({n_items, dim});
    args.grad_users = grad_users.data;
    args.grad_items = grad_items.data;
    if ((n_pairs > 0 || n_items > 0) && dim > 0) candidate_scores_backward(args, call.where());
    return std::make_tuple(grad_users.tensor, grad_items.tensor);
  });
}

}  // namespace ans::ops
#endif
