// hardest_negatives on CUDA tensors: checks, memory, launch. csrc/hardest_negatives.cpp has its schema.
//
// Nothing here waits for the GPU, so ids on it are not checked: among candidates one of which is no item the choice
// is -1.
#include "check_hardest.h"
#include "cuda/hardest_negatives.h"
#include "cuda/tensors.h"

namespace ans::cuda {
namespace {

Tensor hardest_negatives_op(Tensor user_rows, Tensor item_hops, Tensor candidates, std::optional<Tensor> item_gate,
                            std::optional<Tensor> pos_gate, double rest) {
  HardestTensors tensors = {user_rows, item_hops, candidates, item_gate, pos_gate, rest};
  tensors.check();
  check_range("user_rows' dimension on a GPU", user_rows.size(2), 0, kMaxDim);
  if (candidates.numel() > 0) check_range("item_hops' number of rows", item_hops.size(0), 1, INT64_MAX);
  check_device(item_hops, "item_hops", user_rows);
  check_device(candidates, "candidates", user_rows);
  tensors.user_rows = aligned(user_rows);
  tensors.item_hops = aligned(item_hops);
  if (item_gate) {
    check_device(*item_gate, "item_gate", user_rows);
    check_device(*pos_gate, "pos_gate", user_rows);
    tensors.item_gate = aligned(*item_gate);
    tensors.pos_gate = aligned(*pos_gate);
  }
  const OnDeviceOf device(user_rows);
  const Tensor chosen = tensors.new_chosen();
  if (chosen.numel() == 0) return chosen;
  with_row_type(user_rows, "user_rows", [&](auto zero) {
    hardest_negatives(tensors.inputs<decltype(zero), float>(chosen), device.stream());
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  return chosen;
}

}  // namespace
}  // namespace ans::cuda

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CUDA, m) {
  m.impl("hardest_negatives", TORCH_BOX(&ans::cuda::hardest_negatives_op));
}
