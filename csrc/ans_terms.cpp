// The operators ans_terms_forward and ans_terms_backward: schemas, argument checks, memory.
#include "check_ans.h"
#include "cpu/ans_terms.h"
#include "dispatch.h"

#include <optional>
#include <tuple>
#include <vector>

namespace ans {
namespace {

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename T>
void check_id_ranges(const cpu::AnsTermsArgs<T>& args) {
  const int64_t n_negatives = args.n_negatives;
  check_ids_below(args.users, args.n_pairs, "users", args.n_users);
  check_ids_below(args.pos_items, args.n_pairs, "pos_items", args.n_items);
  for (int64_t pair = 0; pair < args.n_pairs; ++pair) {
    const int64_t count = args.neg_count == nullptr ? n_negatives : args.neg_count[pair];
    if (count < 1 || count > n_negatives)
      fail("neg_count must be in [1, ", n_negatives, "], got ", count, " at position ", pair);
    check_ids_below(args.neg_items + pair * n_negatives, count, "neg_items", args.n_items, pair * n_negatives);
  }
}

// Fills the arguments that both directions share.
template <typename T>
void fill_inputs(cpu::AnsTermsArgs<T>& args, const Tensor& user_hops, const Tensor& item_hops, const Tensor& user_gate,
                 const Tensor& item_gate, const Tensor& margin_weight, const Tensor& margin_bias, const Tensor& users,
                 const Tensor& pos_items, const Tensor& neg_items, const std::optional<Tensor>& neg_count, double eps,
                 double noise_scale, const Tensor& seed) {
  args.user_hops = user_hops.const_data_ptr<T>();
  args.item_hops = item_hops.const_data_ptr<T>();
  args.user_gate = user_gate.const_data_ptr<T>();
  args.item_gate = item_gate.const_data_ptr<T>();
  args.margin_weight = margin_weight.const_data_ptr<T>();
  args.margin_bias = margin_bias.const_data_ptr<T>();
  args.users = users.const_data_ptr<int64_t>();
  args.pos_items = pos_items.const_data_ptr<int64_t>();
  args.neg_items = neg_items.const_data_ptr<int64_t>();
  args.neg_count = neg_count ? neg_count->const_data_ptr<int64_t>() : nullptr;
  args.n_users = user_hops.size(0);
  args.n_items = item_hops.size(0);
  args.n_pairs = users.size(0);
  args.n_negatives = neg_items.size(1);
  args.n_hops = user_hops.size(1);
  args.dim = user_hops.size(2);
  args.eps = static_cast<T>(eps);
  args.noise_scale = static_cast<T>(noise_scale);
  args.seed = cpu_seed(seed);
  args.n_threads = threads_for(neg_items.numel() * args.n_hops * args.dim, 1 << 14);
  check_id_ranges(args);
}

template <typename T>
Tensor thread_scratch(const cpu::AnsTermsArgs<T>& args, const Tensor& like) {
  const int64_t size = cpu::thread_scratch_size<T>(args.n_negatives, args.n_hops, args.dim);
  return torch::stable::new_empty(like, {args.n_threads * size});
}

std::tuple<Tensor, Tensor, Tensor> ans_terms_forward(Tensor user_hops, Tensor item_hops, Tensor user_gate,
                                                     Tensor item_gate, Tensor margin_weight, Tensor margin_bias,
                                                     Tensor users, Tensor pos_items, Tensor neg_items,
                                                     std::optional<Tensor> neg_count, double eps, double noise_scale,
                                                     Tensor seed) {
  check_inputs(user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users, pos_items, neg_items,
               neg_count);
  const int64_t n_pairs = users.size(0), hops = user_hops.size(1), n_negatives = neg_items.size(1);
  Tensor terms = torch::stable::new_empty(user_hops, {4});
  Tensor selected = torch::stable::new_empty(users, {n_pairs, hops});
  Tensor saved = torch::stable::new_empty(user_hops, {n_pairs, hops, 3, n_negatives});
  Tensor pair_terms = torch::stable::new_empty(user_hops, {n_pairs, 4}, ScalarType::Double);
  with_element_type(user_hops, "user_hops", [&](auto zero) {
    using T = decltype(zero);
    cpu::AnsTermsForwardArgs<T> args = {};
    fill_inputs<T>(args, user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users, pos_items,
                   neg_items, neg_count, eps, noise_scale, seed);
    const Tensor scratch = thread_scratch(args, user_hops);
    args.thread_scratch = scratch.mutable_data_ptr<T>();
    args.terms = terms.mutable_data_ptr<T>();
    args.selected = selected.mutable_data_ptr<int64_t>();
    args.saved = saved.mutable_data_ptr<T>();
    args.pair_terms = pair_terms.mutable_data_ptr<double>();
    if constexpr (sizeof(T) == sizeof(float)) cpu::ans_terms_forward_float(args);
    else cpu::ans_terms_forward_double(args);
  });
  return {terms, selected, saved};
}

Gradients ans_terms_backward(Tensor grad_terms, Tensor user_hops, Tensor item_hops, Tensor user_gate,
                                       Tensor item_gate, Tensor margin_weight, Tensor margin_bias, Tensor users,
                                       Tensor pos_items, Tensor neg_items, std::optional<Tensor> neg_count, double eps,
                                       double noise_scale, Tensor seed, Tensor selected, Tensor saved,
                                       [[maybe_unused]] bool deterministic) {
  check_inputs(user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users, pos_items, neg_items,
               neg_count);
  const int64_t n_pairs = users.size(0), hops = user_hops.size(1), dim = user_hops.size(2);
  const int64_t n_negatives = neg_items.size(1);
  check_float(grad_terms, "grad_terms", "[4]", {4}, user_hops);
  check_ids(selected, "selected", "[B, H]", {n_pairs, hops});
  check_ids_below(selected.const_data_ptr<int64_t>(), selected.numel(), "selected", n_negatives);
  check_float(saved, "saved", "[B, H, 3, M]", {n_pairs, hops, 3, n_negatives}, user_hops);
  const auto empty = [&](std::vector<int64_t> sizes) { return torch::stable::new_empty(user_hops, sizes); };
  const auto indices = [&](int64_t size) { return torch::stable::new_empty(users, {size}); };
  Gradients gradients = {empty({user_hops.size(0), hops, dim}), empty({item_hops.size(0), hops, dim}),
                         empty({n_pairs, hops, dim}), empty({item_hops.size(0), hops, dim}), empty({dim}), empty({1})};
  const Tensor row_weights = empty({neg_items.numel() * hops * 3}), selected_weights = empty({n_pairs * hops * 2});
  const Tensor grad_positive = empty({n_pairs * hops * dim}), pair_margin = empty({n_pairs * (dim + 1)});
  const Tensor user_start = indices(user_hops.size(0) + 2), user_order = indices(n_pairs);
  const Tensor item_start = indices(item_hops.size(0) + 2), item_order = indices(neg_items.numel() + n_pairs);
  with_element_type(user_hops, "user_hops", [&](auto zero) {
    using T = decltype(zero);
    cpu::AnsTermsBackwardArgs<T> args = {};
    fill_inputs<T>(args, user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users, pos_items,
                   neg_items, neg_count, eps, noise_scale, seed);
    const Tensor scratch = thread_scratch(args, user_hops);
    args.thread_scratch = scratch.mutable_data_ptr<T>();
    args.grad_terms = grad_terms.const_data_ptr<T>();
    args.selected = selected.const_data_ptr<int64_t>();
    args.saved = saved.const_data_ptr<T>();
    T** const targets[] = {&args.grad_user_hops, &args.grad_item_hops, &args.grad_user_gate,
                           &args.grad_item_gate, &args.grad_margin_weight, &args.grad_margin_bias};
    std::apply([&](auto&... gradient) {
      int i = 0;
      ((*targets[i++] = gradient.template mutable_data_ptr<T>()), ...);
    }, gradients);
    args.row_weights = row_weights.mutable_data_ptr<T>();
    args.selected_weights = selected_weights.mutable_data_ptr<T>();
    args.grad_positive = grad_positive.mutable_data_ptr<T>();
    args.pair_margin = pair_margin.mutable_data_ptr<T>();
    args.user_start = user_start.mutable_data_ptr<int64_t>();
    args.user_order = user_order.mutable_data_ptr<int64_t>();
    args.item_start = item_start.mutable_data_ptr<int64_t>();
    args.item_order = item_order.mutable_data_ptr<int64_t>();
    if constexpr (sizeof(T) == sizeof(float)) cpu::ans_terms_backward_float(args);
    else cpu::ans_terms_backward_double(args);
  });
  return gradients;
}

}  // namespace
}  // namespace ans

#define ANS_TERMS_INPUTS                                                                                            \
  "Tensor user_hops, Tensor item_hops, Tensor user_gate, Tensor item_gate, Tensor margin_weight, Tensor margin_bias, " \
  "Tensor users, Tensor pos_items, Tensor neg_items, Tensor? neg_count, float eps, float noise_scale, Tensor seed"

STABLE_TORCH_LIBRARY_FRAGMENT(ans_fast, m) {
  m.def("ans_terms_forward(" ANS_TERMS_INPUTS ") -> (Tensor, Tensor, Tensor)");
  m.def("ans_terms_backward(Tensor grad_terms, " ANS_TERMS_INPUTS
        ", Tensor selected, Tensor saved, bool deterministic) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  m.impl("ans_terms_forward", TORCH_BOX(&ans::ans_terms_forward));
  m.impl("ans_terms_backward", TORCH_BOX(&ans::ans_terms_backward));
}
