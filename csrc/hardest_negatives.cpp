// The operator hardest_negatives: schema, argument checks, memory.
#include "check_hardest.h"
#include "cpu/hardest_negatives.h"
#include "dispatch.h"

namespace ans {
namespace {

Tensor hardest_negatives(Tensor user_rows, Tensor item_hops, Tensor candidates, std::optional<Tensor> item_gate,
                         std::optional<Tensor> pos_gate, double rest) {
  const HardestTensors tensors = {user_rows, item_hops, candidates, item_gate, pos_gate, rest};
  tensors.check();
  check_ids_below(candidates.const_data_ptr<int64_t>(), candidates.numel(), "candidates", item_hops.size(0));
  const Tensor chosen = tensors.new_chosen();
  if (chosen.numel() == 0) return chosen;
  with_element_type(user_rows, "user_rows", [&](auto zero) {
    using T = decltype(zero);
    const int n_threads = threads_for(candidates.numel() * user_rows.size(1) * user_rows.size(2), 1 << 16);
    const cpu::HardestNegativesArgs<T> args = {tensors.inputs<T, T>(chosen), n_threads};
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
