// A GPU as operators see it (csrc/ops/call.h), through torch's stable ABI.
//
// No operator waits for the GPU, so ids on it are not checked: kernels say what becomes of those out of range.
#pragma once

#include <torch/csrc/stable/accelerator.h>

#include <utility>

#include "ops/call.h"

namespace ans {

template <>
struct TypeOf<__nv_bfloat16> {
  static constexpr ScalarType type = ScalarType::BFloat16;
};
template <>
struct TypeOf<__half> {
  static constexpr ScalarType type = ScalarType::Half;
};

namespace cuda {

// What is the same on a GPU and in tests/simt.
struct RowsOnGpu {
  using Short = __nv_bfloat16;
  static constexpr int64_t kMaxDim = cuda::kMaxDim;

  // The tensor, or its copy where it does not start at 16 bytes as the kernels' loads want.
  static Tensor aligned(const Tensor& rows) {
    return reinterpret_cast<uintptr_t>(rows.data_ptr()) % 16 == 0 ? rows : torch::stable::clone(rows);
  }

  template <typename Function>
  static auto with_row_type(const Tensor& rows, const char* name, Function function) {
    if (rows.scalar_type() == ScalarType::Float) return function(float{});
    if (rows.scalar_type() == ScalarType::BFloat16) return function(__nv_bfloat16{});
    if (rows.scalar_type() == ScalarType::Half) return function(__half{});
    fail(name, " must be float32, bfloat16 or float16 on a GPU");
  }

  template <typename Function>
  static auto with_float_type(const Tensor& values, const char* name, Function function) {
    if (values.scalar_type() == ScalarType::Float) return function(float{});
    fail(name, " must be float32 on a GPU");
  }
};

#if defined(__CUDACC__)

// While it lives, its tensor's device is the current one.
class Device : public RowsOnGpu {
 public:
  static constexpr const char* kPlace = "the GPU that the other tensors are on";
  static constexpr bool kReadsIds = false, kAtomics = true;

  explicit Device(const Tensor& tensor) : device_(tensor.get_device_index()), guard_(device_) {}
  bool holds(const Tensor& tensor) const { return tensor.is_cuda() && tensor.get_device_index() == device_; }
  Stream where(const Memory& memory) const {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_, &stream));
    return {static_cast<cudaStream_t>(stream), memory};
  }

  static bool reads_now(const Tensor& seed) { return seed.is_cpu(); }
  static Tensor allocate(const Tensor& like, Sizes sizes, ScalarType type) {
    return torch::stable::new_empty(like, sizes, type);
  }

 private:
  int32_t device_;
  torch::stable::accelerator::DeviceGuard guard_;
};

#endif

}  // namespace cuda
}  // namespace ans
