// What the CPU and the CUDA half of hardest_negatives do alike with its tensors.
#pragma once

#include <optional>

#include "check.h"
#include "common/args.h"

namespace ans {

struct HardestTensors {
  Tensor user_rows, item_hops, candidates;
  std::optional<Tensor> item_gate, pos_gate;
  double rest;

  // Everything but ids' ranges.
  void check() const {
    check_shape(user_rows, "user_rows", "[B, H, D]", {-1, -1, -1});
    const int64_t n_pairs = user_rows.size(0);
    check_like_rows(item_hops, "item_hops", "[n_items, H, D]", -1);
    check_ids(candidates, "candidates", "[B, K, M]", {n_pairs, -1, -1});
    check_range("candidates' number a negative", candidates.size(2), 1, INT32_MAX);
    if (item_gate.has_value() != pos_gate.has_value()) fail("item_gate and pos_gate must come together");
    if (item_gate) {
      check_like_rows(*item_gate, "item_gate", "[n_items, H, D]", item_hops.size(0));
      check_like_rows(*pos_gate, "pos_gate", "[B, H, D]", n_pairs);
    }
  }

  Tensor new_chosen() const {
    return torch::stable::new_empty(candidates, {candidates.size(0), candidates.size(1), user_rows.size(1)});
  }

  template <typename T, typename Sum>
  HardestInputs<T, Sum> inputs(const Tensor& chosen) const {
    const auto rows = [](const Tensor& tensor) { return static_cast<const T*>(tensor.const_data_ptr()); };
    return {rows(user_rows),
            rows(item_hops),
            item_gate ? rows(*item_gate) : nullptr,
            pos_gate ? rows(*pos_gate) : nullptr,
            candidates.const_data_ptr<int64_t>(),
            item_hops.size(0),
            candidates.size(0),
            candidates.size(1),
            candidates.size(2),
            user_rows.size(1),
            user_rows.size(2),
            static_cast<Sum>(rest),
            chosen.mutable_data_ptr<int64_t>()};
  }

 private:
  void check_like_rows(const Tensor& tensor, const char* name, const char* shape, int64_t size) const {
    check_like(tensor, name, shape, {size, user_rows.size(1), user_rows.size(2)}, user_rows, "of user_rows' dtype");
  }
};

}  // namespace ans
