// The four terms of augmented negative sampling over a batch of pairs, and their gradients.
#pragma once

#include "common/kernel.h"

namespace ans {

// B pairs, M negatives a pair at most, H hops, D values a row.
template <typename T>
struct AnsInputs {
  const T* user_hops;        // [n_users, H, D]
  const T* item_hops;        // [n_items, H, D]
  const T* user_gate;        // [B, H, D]
  const T* item_gate;        // [n_items, H, D]
  const T* margin_weight;    // [D]
  const T* margin_bias;      // [1]
  const int64_t* users;      // [B]
  const int64_t* pos_items;  // [B]
  const int64_t* neg_items;  // [B, M]
  const int64_t* neg_count;  // [B], or null: M everywhere
  int64_t n_users, n_items, n_pairs, n_negatives, n_hops, dim;
  Sum<T> eps, noise_scale;
  Seed seed;
  int64_t first_pair;  // pairs of the whole batch before these, by which the noise's rows are numbered
};

template <typename T>
struct AnsForwardArgs : AnsInputs<T> {
  Sum<T>* terms;        // [4]: bpr, sns, distance, orthogonality; NaN where ids are not read and one is out of range
  int64_t* selected;    // [B, H]
  Sum<T>* saved;        // [B, H, 3, M]: contrast, distance and orthogonality of each negative
  Sum<T>* differences;  // [B]: u·p − u·n' over the hops, n' the selected negative
};
ANS_ROW_KERNEL(ans_terms_forward, AnsForwardArgs)

// Shaped as what they are the gradients of. What an id out of range stands for gets none.
template <typename T>
struct AnsGradients {
  T *user_hops, *item_hops, *user_gate, *item_gate, *margin_weight, *margin_bias;
};

template <typename T>
struct AnsBackwardArgs : AnsInputs<T> {
  const Sum<T>* grad_terms;        // [4]
  const Sum<T>* grad_differences;  // [B], or null: zeros
  const int64_t* selected;
  const Sum<T>* saved;
  AnsGradients<T> grad;
  // Where sums of shared rows are to have one order and the device would use atomics.
  SortedIds sorted_users, sorted_pos_items, sorted_neg_items;
};
ANS_ROW_KERNEL(ans_terms_backward, AnsBackwardArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include <tuple>

#include "ops/call.h"

namespace ans::ops {

#define ANS_TERMS_INPUTS                                                                                               \
  "Tensor user_hops, Tensor item_hops, Tensor user_gate, Tensor item_gate, Tensor margin_weight, Tensor margin_bias, " \
  "Tensor users, Tensor pos_items, Tensor neg_items, Tensor? neg_count, float eps, float noise_scale, Tensor seed, " \
  "int first_pair"

constexpr char kAnsTermsForward[] = "ans_terms_forward(" ANS_TERMS_INPUTS ") -> (Tensor, Tensor, Tensor, Tensor)";
constexpr char kAnsTermsBackward[] =
    "ans_terms_backward(" ANS_TERMS_INPUTS ", Tensor grad_terms, Tensor? grad_differences, Tensor selected, "
    "Tensor saved, bool deterministic) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)";

template <typename T>
void check_ranges(const AnsInputs<T>& args) {
  check_ids_below(args.users, args.n_pairs, "users", args.n_users);
  check_ids_below(args.pos_items, args.n_pairs, "pos_items", args.n_items);
  for (int64_t pair = 0; pair < args.n_pairs; ++pair) {
    const int64_t count = args.neg_count ? args.neg_count[pair] : args.n_negatives;
    if (count < 1 || count > args.n_negatives)
      fail("neg_count must be in [1, ", args.n_negatives, "], got ", count, " at position ", pair);
    const int64_t first = pair * args.n_negatives;
    check_ids_below(args.neg_items + first, count, "neg_items", args.n_items, first);
  }
}

struct PairIds {
  Tensor users, pos_items, neg_items;
};

template <typename Device, typename T>
std::tuple<Tensor, Tensor, Tensor, Tensor> run_ans_terms(Call<Device>& call, AnsForwardArgs<T>& args,
                                                         const PairIds&) {
  const auto terms = call.template output<Sum<T>>({4});
  const auto selected = call.template output<int64_t>({args.n_pairs, args.n_hops});
  const auto saved = call.template output<Sum<T>>({args.n_pairs, args.n_hops, 3, args.n_negatives});
  const auto differences = call.template output<Sum<T>>({args.n_pairs});
  args.terms = terms.data;
  args.selected = selected.data;
  args.saved = saved.data;
  args.differences = differences.data;
  ans_terms_forward(args, call.where());
  return {terms.tensor, selected.tensor, saved.tensor, differences.tensor};
}

using GradientTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename Device, typename T>
GradientTensors run_ans_terms(Call<Device>& call, AnsBackwardArgs<T>& args, const PairIds& ids, Tensor grad_terms,
                              std::optional<Tensor> grad_differences, Tensor selected, Tensor saved,
                              bool deterministic) {
  const int64_t pairs = args.n_pairs, negatives = args.n_negatives, hops = args.n_hops, dim = args.dim;
  args.grad_terms = call.template values<Sum<T>>(grad_terms, "grad_terms", "[4]", {4});
  if (grad_differences)
    args.grad_differences = call.template values<Sum<T>>(*grad_differences, "grad_differences", "[B]", {pairs});
  args.selected = call.ids(selected, "selected", "[B, H]", {pairs, hops});
  args.saved = call.template values<Sum<T>>(saved, "saved", "[B, H, 3, M]", {pairs, hops, 3, negatives});
  if constexpr (Device::kReadsIds) check_ids_below(args.selected, pairs * hops, "selected", negatives);
  if (Device::kAtomics && deterministic) {
    args.sorted_users = call.sorted(ids.users);
    args.sorted_pos_items = call.sorted(ids.pos_items);
    args.sorted_neg_items = call.sorted(ids.neg_items);
  }
  const auto gradient = [&](T*& data, Sizes sizes) {
    const auto made = call.template output<T>(sizes);
    data = made.data;
    return made.tensor;
  };
  AnsGradients<T>& grad = args.grad;
  GradientTensors gradients = {
      gradient(grad.user_hops, {args.n_users, hops, dim}), gradient(grad.item_hops, {args.n_items, hops, dim}),
      gradient(grad.user_gate, {pairs, hops, dim}),        gradient(grad.item_gate, {args.n_items, hops, dim}),
      gradient(grad.margin_weight, {dim}),                 gradient(grad.margin_bias, {1})};
  ans_terms_backward(args, call.where());
  return gradients;
}

// Both directions, which take the same inputs: Args is AnsForwardArgs, or AnsBackwardArgs with the rest of its arguments.
template <typename Device, template <typename> class Args, typename... Rest>
auto ans_terms(Tensor user_hops, Tensor item_hops, Tensor user_gate, Tensor item_gate, Tensor margin_weight,
               Tensor margin_bias, Tensor users, Tensor pos_items, Tensor neg_items, std::optional<Tensor> neg_count,
               double eps, double noise_scale, Tensor seed, int64_t first_pair, Rest... rest) {
  Call<Device> call(user_hops, "user_hops");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    Args<T> args = {};
    args.user_hops = call.template rows<T>(user_hops, "user_hops", "[n_users, H, D]", {-1, -1, -1});
    const int64_t n_users = args.n_users = user_hops.size(0), hops = args.n_hops = user_hops.size(1);
    const int64_t dim = args.dim = user_hops.size(2);
    check_range("user_hops' H", hops, 1, 1001);
    check_range("user_hops' D", dim, 1, Device::kMaxDim);
    args.item_hops = call.template rows<T>(item_hops, "item_hops", "[n_items, H, D]", {-1, hops, dim});
    const int64_t n_items = args.n_items = item_hops.size(0);
    args.users = call.ids(users, "users", "[B]", {-1});
    const int64_t pairs = args.n_pairs = users.size(0);
    args.pos_items = call.ids(pos_items, "pos_items", "[B]", {pairs});
    args.neg_items = call.ids(neg_items, "neg_items", "[B, M]", {pairs, -1});
    args.n_negatives = neg_items.size(1);
    check_range("neg_items' M", args.n_negatives, 1, INT32_MAX);
    if (neg_count) args.neg_count = call.ids(*neg_count, "neg_count", "[B]", {pairs});
    args.user_gate = call.template rows<T>(user_gate, "user_gate", "[B, H, D]", {pairs, hops, dim});
    args.item_gate = call.template rows<T>(item_gate, "item_gate", "[n_items, H, D]", {n_items, hops, dim});
    args.margin_weight = call.template rows<T>(margin_weight, "margin_weight", "[D]", {dim});
    args.margin_bias = call.template rows<T>(margin_bias, "margin_bias", "[1]", {1});
    args.eps = static_cast<Sum<T>>(eps);
    args.noise_scale = static_cast<Sum<T>>(noise_scale);
    args.seed = call.seed(seed);
    args.first_pair = first_pair;
    check_range("first_pair", first_pair, 0, INT32_MAX);
    if (pairs > 0) {
      check_range("user_hops' n_users", n_users, 1, INT64_MAX);
      check_range("item_hops' n_items", n_items, 1, INT64_MAX);
    }
    if constexpr (Device::kReadsIds) check_ranges(args);
    return run_ans_terms(call, args, PairIds{users, pos_items, neg_items}, rest...);
  });
}

}  // namespace ans::ops
#endif
