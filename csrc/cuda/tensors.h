// What the operators' CUDA halves need of torch, all through its stable ABI.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include "check.h"
#include "cuda/platform.h"

namespace ans::cuda {

using torch::stable::accelerator::DeviceGuard;

// Makes a tensor's device the current one, and its current stream the one to launch on.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const Tensor& tensor) : device_(tensor.get_device_index()), guard_(device_) {}

  cudaStream_t stream() const {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device_, &stream));
    return static_cast<cudaStream_t>(stream);
  }

 private:
  int32_t device_;
  DeviceGuard guard_;
};

// Fails unless `tensor` lies on the GPU that `like` lies on.
inline void check_device(const Tensor& tensor, const char* name, const Tensor& like) {
  if (!tensor.is_cuda() || tensor.get_device_index() != like.get_device_index())
    fail(name, " must be on the GPU that the other tensors are on");
}

// The tensor, or its copy where it does not start at 16 bytes as the kernels' loads want.
inline Tensor aligned(const Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 == 0 ? tensor : torch::stable::clone(tensor);
}

template <typename T>
const T* read(const Tensor& tensor) { return static_cast<const T*>(tensor.data_ptr()); }
template <typename T>
T* write(const Tensor& tensor) { return static_cast<T*>(tensor.data_ptr()); }

// Calls function(T{}) with T the element type of rows on the GPU.
template <typename Function>
void with_row_type(const Tensor& tensor, const char* name, Function function) {
  if (tensor.scalar_type() == ScalarType::Float) function(float{});
  else if (tensor.scalar_type() == ScalarType::BFloat16) function(__nv_bfloat16{});
  else if (tensor.scalar_type() == ScalarType::Half) function(__half{});
  else fail(name, " must be float32, bfloat16 or float16 on a GPU");
}

}  // namespace ans::cuda
