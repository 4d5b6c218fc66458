// The CPU in place of a GPU, as operators see it: tensors lie on the CPU, kernels are those of csrc/cuda.
//
// Outputs and scratch start as NaN (numbers as -1), so that what a kernel leaves unwritten shows.
#pragma once

#include <cstring>

#include "cuda/device.h"

namespace simt {

inline bool seeds_by_address = false;  // or by value

class Device : public ans::cuda::RowsOnGpu {
 public:
  static constexpr const char* kPlace = "the CPU";
  static constexpr bool kReadsIds = false, kAtomics = true;

  explicit Device(const ans::Tensor&) {}
  bool holds(const ans::Tensor& tensor) const { return tensor.is_cpu(); }
  ans::cuda::Stream where(const ans::Memory& memory) const { return {nullptr, memory}; }

  static bool reads_now(const ans::Tensor&) { return !seeds_by_address; }
  static ans::Tensor allocate(const ans::Tensor& like, ans::Sizes sizes, ans::ScalarType type) {
    const ans::Tensor tensor = torch::stable::new_empty(like, sizes, type);
    if (tensor.numel() > 0) std::memset(tensor.data_ptr(), 0xff, tensor.numel() * tensor.element_size());
    return tensor;
  }
};

}  // namespace simt
