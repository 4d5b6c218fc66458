// The operator hardest_negatives: schema, argument checks, memory.
#include "cpu/hardest_negatives.h"
#include "dispatch.h"

#include <optional>

namespace ans {
namespace {

Tensor hardest_negatives(Tensor user_rows, Tensor item_hops, Tensor candidates, std::optional<Tensor> item_gate,
                         std::optional<Tensor> pos_gate, double rest) {
  check_shape(user_rows, "user_rows", "[B, H, D]", {-1, -1, -1});
  const int64_t n_pairs = user_rows.size(0), hops = user_rows.size(1), dim = user_rows.size(2);
  const auto check_like_rows = [&](const Tensor& tensor, const char* name, const char* shape, int64_t size) {
    check_shape(tensor, name, shape, {size, hops, dim});
    check_type(tensor, name, user_rows.scalar_type(), "of user_rows' dtype");
  };
  check_like_rows(item_hops, "item_hops", "[n_items, H, D]", -1);
  check_ids(candidates, "candidates", "[B, K, M]", {n_pairs, -1, -1});
  check_range("candidates' number a negative", candidates.size(2), 1, INT32_MAX);
  const int64_t n_items = item_hops.size(0), n_chosen = candidates.size(1);
  check_ids_below(candidates.const_data_ptr<int64_t>(), candidates.numel(), "candidates", n_items);
  if (item_gate.has_value() != pos_gate.has_value()) fail("item_gate and pos_gate must come together");
  if (item_gate) {
    check_like_rows(*item_gate, "item_gate", "[n_items, H, D]", n_items);
    check_like_rows(*pos_gate, "pos_gate", "[B, H, D]", n_pairs);
  }
  Tensor chosen = torch::stable::new_empty(candidates, {n_pairs, n_chosen, hops});
  with_element_type(user_rows, "user_rows", [&](auto zero) {
    using T = decltype(zero);
    cpu::HardestNegativesArgs<T> args = {};
    args.user_rows = user_rows.const_data_ptr<T>();
    args.item_hops = item_hops.const_data_ptr<T>();
    if (item_gate) {
      args.item_gate = item_gate->const_data_ptr<T>();
      args.pos_gate = pos_gate->const_data_ptr<T>();
      args.rest = static_cast<T>(rest);
    }
    args.candidates = candidates.const_data_ptr<int64_t>();
    args.n_pairs = n_pairs;
    args.n_chosen = n_chosen;
    args.n_candidates = candidates.size(2);
    args.n_hops = hops;
    args.dim = dim;
    args.chosen = chosen.mutable_data_ptr<int64_t>();
    args.n_threads = threads_for(candidates.numel() * hops * dim, 1 << 16);
    if constexpr (sizeof(T) == sizeof(float)) cpu::hardest_negatives_float(args);
    else cpu::hardest_negatives_double(args);
  });
  return chosen;
}

}  // namespace
}  // namespace ans

STABLE_TORCH_LIBRARY_FRAGMENT(ans_fast, m) {
  m.def(
      "hardest_negatives(Tensor user_rows, Tensor item_hops, Tensor candidates, Tensor? item_gate, Tensor? pos_gate, "
      "float rest) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) { m.impl("hardest_negatives", TORCH_BOX(&ans::hardest_negatives)); }
