// The checks of ans_terms' arguments that the CPU and the CUDA half share.
#pragma once

#include <optional>

#include "check.h"

namespace ans {

inline void check_float(const Tensor& tensor, const char* name, const char* shape, std::initializer_list<int64_t> sizes,
                        const Tensor& like) {
  check_like(tensor, name, shape, sizes, like, "of user_hops' dtype");
}

// Everything but ids' ranges.
inline void check_inputs(const Tensor& user_hops, const Tensor& item_hops, const Tensor& user_gate,
                         const Tensor& item_gate, const Tensor& margin_weight, const Tensor& margin_bias,
                         const Tensor& users, const Tensor& pos_items, const Tensor& neg_items,
                         const std::optional<Tensor>& neg_count) {
  check_shape(user_hops, "user_hops", "[n_users, H, D]", {-1, -1, -1});
  const int64_t hops = user_hops.size(1), dim = user_hops.size(2);
  check_range("user_hops' number of hops", hops, 1, 1001);
  check_range("user_hops' dimension", dim, 1, 1 << 20);
  check_float(item_hops, "item_hops", "[n_items, H, D]", {-1, hops, dim}, user_hops);
  check_ids(users, "users", "[B]", {-1});
  const int64_t n_pairs = users.size(0);
  check_ids(pos_items, "pos_items", "[B]", {n_pairs});
  check_ids(neg_items, "neg_items", "[B, M]", {n_pairs, -1});
  check_range("neg_items' number of negatives", neg_items.size(1), 1, INT32_MAX);
  if (neg_count) check_ids(*neg_count, "neg_count", "[B]", {n_pairs});
  check_float(user_gate, "user_gate", "[B, H, D]", {n_pairs, hops, dim}, user_hops);
  check_float(item_gate, "item_gate", "[n_items, H, D]", {item_hops.size(0), hops, dim}, user_hops);
  check_float(margin_weight, "margin_weight", "[D]", {dim}, user_hops);
  check_float(margin_bias, "margin_bias", "[1]", {1}, user_hops);
}

}  // namespace ans
