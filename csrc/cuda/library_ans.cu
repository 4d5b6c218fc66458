// ans_terms_forward and ans_terms_backward on CUDA tensors: checks, memory, launches. csrc/ans_terms.cpp has their
// schemas.
//
// Nothing here waits for the GPU, so ids on it are not checked: a pair with one out of range gets NaN terms, and what that
// id stands for gives no gradient.
#include "check_ans.h"
#include "cuda/ans_terms.h"
#include "cuda/tensors.h"

#include <tuple>

namespace ans::cuda {
namespace {

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// The arguments that both directions share.
struct Inputs {
  Tensor user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users, pos_items, neg_items;
  std::optional<Tensor> neg_count;
  double eps, noise_scale;
  Tensor seed;

  int64_t n_users() const { return user_hops.size(0); }
  int64_t n_items() const { return item_hops.size(0); }
  int64_t n_pairs() const { return users.size(0); }
  int64_t n_negatives() const { return neg_items.size(1); }
  int64_t n_hops() const { return user_hops.size(1); }
  int64_t dim() const { return user_hops.size(2); }

  // Checks everything but ids' ranges, and sees to it that rows are aligned.
  void prepare() {
    check_inputs(user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users, pos_items, neg_items,
                 neg_count);
    check_range("user_hops' dimension on a GPU", dim(), 1, kMaxDim);
    if (n_pairs() > 0) {
      check_range("user_hops' number of rows", n_users(), 1, INT64_MAX);
      check_range("item_hops' number of rows", n_items(), 1, INT64_MAX);
    }
    check_device(item_hops, "item_hops", user_hops);
    check_device(user_gate, "user_gate", user_hops);
    check_device(item_gate, "item_gate", user_hops);
    check_device(margin_weight, "margin_weight", user_hops);
    check_device(margin_bias, "margin_bias", user_hops);
    check_device(users, "users", user_hops);
    check_device(pos_items, "pos_items", user_hops);
    check_device(neg_items, "neg_items", user_hops);
    if (neg_count) check_device(*neg_count, "neg_count", user_hops);
    for (Tensor* rows : {&user_hops, &item_hops, &user_gate, &item_gate, &margin_weight}) *rows = aligned(*rows);
  }

  template <typename T>
  void fill(AnsTermsArgs<T>& args) const {
    args = {read<T>(user_hops),
            read<T>(item_hops),
            read<T>(user_gate),
            read<T>(item_gate),
            read<T>(margin_weight),
            read<T>(margin_bias),
            read<int64_t>(users),
            read<int64_t>(pos_items),
            read<int64_t>(neg_items),
            neg_count ? read<int64_t>(*neg_count) : nullptr,
            n_users(),
            n_items(),
            n_pairs(),
            n_negatives(),
            n_hops(),
            dim(),
            static_cast<float>(eps),
            static_cast<float>(noise_scale),
            seed_of(seed, user_hops)};
  }
};

std::tuple<Tensor, Tensor, Tensor> forward_op(Tensor user_hops, Tensor item_hops, Tensor user_gate, Tensor item_gate,
                                              Tensor margin_weight, Tensor margin_bias, Tensor users, Tensor pos_items,
                                              Tensor neg_items, std::optional<Tensor> neg_count, double eps,
                                              double noise_scale, Tensor seed) {
  Inputs in = {user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users,
               pos_items, neg_items, neg_count, eps,       noise_scale,   seed};
  in.prepare();
  const OnDeviceOf device(user_hops);
  const auto floats = [&](std::vector<int64_t> sizes) {
    return torch::stable::new_empty(user_hops, sizes, ScalarType::Float);
  };
  Tensor terms = floats({4}), saved = floats({in.n_pairs(), in.n_hops(), 3, in.n_negatives()});
  Tensor selected = torch::stable::new_empty(users, {in.n_pairs(), in.n_hops()});
  const Tensor hop_terms = floats({in.n_pairs(), in.n_hops(), 4});
  with_row_type(user_hops, "user_hops", [&](auto zero) {
    AnsForwardArgs<decltype(zero)> args = {};
    in.fill(args);
    args.terms = write<float>(terms);
    args.selected = write<int64_t>(selected);
    args.saved = write<float>(saved);
    args.hop_terms = write<float4>(hop_terms);
    ans_terms_forward(args, device.stream());
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return {terms, selected, saved};
}

Gradients backward_op(Tensor grad_terms, Tensor user_hops, Tensor item_hops, Tensor user_gate, Tensor item_gate,
                      Tensor margin_weight, Tensor margin_bias, Tensor users, Tensor pos_items, Tensor neg_items,
                      std::optional<Tensor> neg_count, double eps, double noise_scale, Tensor seed, Tensor selected,
                      Tensor saved, bool deterministic) {
  Inputs in = {user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias, users,
               pos_items, neg_items, neg_count, eps,       noise_scale,   seed};
  in.prepare();
  const int64_t pairs = in.n_pairs(), hops = in.n_hops(), dim = in.dim();
  check_shape(grad_terms, "grad_terms", "[4]", {4});
  check_type(grad_terms, "grad_terms", ScalarType::Float, "float32");
  check_ids(selected, "selected", "[B, H]", {pairs, hops});
  check_shape(saved, "saved", "[B, H, 3, M]", {pairs, hops, 3, in.n_negatives()});
  check_type(saved, "saved", ScalarType::Float, "float32");
  check_device(grad_terms, "grad_terms", user_hops);
  check_device(selected, "selected", user_hops);
  check_device(saved, "saved", user_hops);
  const OnDeviceOf device(user_hops);
  const auto floats = [&](std::vector<int64_t> sizes) {
    return torch::stable::new_empty(user_hops, sizes, ScalarType::Float);
  };
  const auto zeros = [&](std::vector<int64_t> sizes) {
    Tensor tensor = floats(std::move(sizes));
    return torch::stable::zero_(tensor);
  };
  Tensor grad_user_hops = zeros({in.n_users(), hops, dim}), grad_item_hops = zeros({in.n_items(), hops, dim});
  Tensor grad_user_gate = floats({pairs, hops, dim}), grad_item_gate = zeros({in.n_items(), hops, dim});
  Tensor grad_margin_weight = pairs > 0 ? floats({dim}) : zeros({dim});
  Tensor grad_margin_bias = pairs > 0 ? floats({1}) : zeros({1});
  const Tensor hop_sums = floats({pairs, hops, 4});
  const Tensor margins = floats({pairs > 0 ? ans_backward_units(pairs * hops, dim) : 0, dim + 1});
  const int64_t kept = deterministic ? pairs : 0;
  const Tensor hop_weights = floats({kept, hops, 4}), pair_user = floats({kept, hops, dim});
  const Tensor pair_item = floats({kept, hops, dim});
  std::pair<Tensor, Tensor> by_user, by_positive, by_negative;
  if (kept > 0) {
    by_user = stable_sort(users);
    by_positive = stable_sort(pos_items);
    by_negative = stable_sort(torch::stable::view(neg_items, {neg_items.numel()}));
  }
  with_row_type(user_hops, "user_hops", [&](auto zero) {
    AnsBackwardArgs<decltype(zero)> args = {};
    in.fill(args);
    args.grad_terms = read<float>(grad_terms);
    args.selected = read<int64_t>(selected);
    args.saved = read<float>(saved);
    args.grad_user_gate = write<float>(grad_user_gate);
    args.grad_margin_weight = write<float>(grad_margin_weight);
    args.grad_margin_bias = write<float>(grad_margin_bias);
    args.grad_user_hops = write<float>(grad_user_hops);
    args.grad_item_hops = write<float>(grad_item_hops);
    args.grad_item_gate = write<float>(grad_item_gate);
    args.hop_sums = write<float4>(hop_sums);
    args.margins = write<float>(margins);
    if (kept > 0) {
      args.hop_weights = write<float4>(hop_weights);
      args.pair_user = write<float>(pair_user);
      args.pair_item = write<float>(pair_item);
      args.users_sorted = read<int64_t>(by_user.first);
      args.users_order = read<int64_t>(by_user.second);
      args.pos_sorted = read<int64_t>(by_positive.first);
      args.pos_order = read<int64_t>(by_positive.second);
      args.neg_sorted = read<int64_t>(by_negative.first);
      args.neg_order = read<int64_t>(by_negative.second);
    }
    ans_terms_backward(args, device.stream());
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  const auto like_rows = [&](const Tensor& gradient) {
    return is_half(user_hops) ? torch::stable::to(gradient, user_hops.scalar_type()) : gradient;
  };
  return {like_rows(grad_user_hops), like_rows(grad_item_hops),     like_rows(grad_user_gate),
          like_rows(grad_item_gate), like_rows(grad_margin_weight), like_rows(grad_margin_bias)};
}

}  // namespace
}  // namespace ans::cuda

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CUDA, m) {
  m.impl("ans_terms_forward", TORCH_BOX(&ans::cuda::forward_op));
  m.impl("ans_terms_backward", TORCH_BOX(&ans::cuda::backward_op));
}
