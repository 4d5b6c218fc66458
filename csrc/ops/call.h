// One call of an operator: its arguments checked, its outputs and scratch allocated, all on one device.
//
// Python checks shapes and dtypes too, with friendlier types of error; these here keep a direct call of torch.ops.ans_fast
// from reading memory it should not. What devices do differently is a class Device (csrc/cpu/device.h,
// csrc/cuda/device.h): where its tensors lie, which types its rows have, `Short` being its bfloat16, and where its kernels
// run.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/kernel.h"

namespace ans {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Sizes = std::initializer_list<int64_t>;

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

inline void check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) fail(name, " must be in [", low, ", ", high, "], got ", value);
}

// `position` is that of ids[0] in the argument `name`.
inline void check_ids_below(const int64_t* ids, int64_t size, const char* name, int64_t n, int64_t position = 0) {
  for (int64_t i = 0; i < size; ++i)
    if (ids[i] < 0 || ids[i] >= n)
      fail(name, " must be in [0, ", n, "), got ", ids[i], " at position ", position + i);
}

// The type of a tensor's elements that kernels see as T, and its name.
template <typename T>
struct TypeOf;
template <>
struct TypeOf<float> {
  static constexpr ScalarType type = ScalarType::Float;
  static constexpr const char* name = "float32";
};
template <>
struct TypeOf<double> {
  static constexpr ScalarType type = ScalarType::Double;
  static constexpr const char* name = "float64";
};
template <>
struct TypeOf<int32_t> {
  static constexpr ScalarType type = ScalarType::Int;
  static constexpr const char* name = "int32";
};
template <>
struct TypeOf<int64_t> {
  static constexpr ScalarType type = ScalarType::Long;
  static constexpr const char* name = "int64";
};

template <typename T>
struct Output {
  Tensor tensor;
  T* data;
};

template <typename Device>
class Call {
 public:
  // All tensors must lie where `first` does.
  Call(const Tensor& first, const char* name) : first_(first), name_(name), device_(first) { check_place(first, name); }
  Call(const Call&) = delete;

  // function(T{}), T the type of the elements of `first`, which rows() then asks of all rows.
  template <typename Function>
  auto with_row_type(Function function) const {
    return Device::with_row_type(first_, name_, function);
  }

  // The same without types of 16 bits, which not all kernels have.
  template <typename Function>
  auto with_float_type(Function function) const {
    return Device::with_float_type(first_, name_, function);
  }

  // A tensor's elements, once it is checked. `shape` says in words what `sizes` are, of which -1 allows any.
  template <typename T>
  const T* values(const Tensor& tensor, const char* name, const char* shape, Sizes sizes) {
    check_shape(tensor, name, shape, sizes);
    if (tensor.scalar_type() != TypeOf<T>::type) fail(name, " must be ", TypeOf<T>::name);
    return data_of<T>(tensor);
  }

  const int64_t* ids(const Tensor& tensor, const char* name, const char* shape, Sizes sizes) {
    return values<int64_t>(tensor, name, shape, sizes);
  }

  // The same of rows: where kernels want rows aligned and these are not, of a copy.
  template <typename T>
  const T* rows(const Tensor& tensor, const char* name, const char* shape, Sizes sizes) {
    check_shape(tensor, name, shape, sizes);
    if (tensor.scalar_type() != first_.scalar_type()) fail(name, " must be of ", name_, "'s dtype");
    return data_of<T>(kept_.emplace_back(Device::aligned(tensor)));
  }

  Seed seed(const Tensor& seed) const { return number<int64_t>(seed, "seed"); }

  // A number on the CPU is read now; one elsewhere by the kernel.
  template <typename T>
  Number<T> number(const Tensor& tensor, const char* name) const {
    if (tensor.scalar_type() != TypeOf<T>::type) fail(name, " must be ", TypeOf<T>::name);
    if (tensor.numel() != 1) fail(name, " must have one element, got ", shape_text(tensor));
    check_address(tensor, name);
    const T* address = data_of<T>(tensor);
    if (Device::reads_now(tensor)) return {nullptr, *address};
    check_place(tensor, name);
    return {address, 0};
  }

  template <typename T>
  Output<T> output(Sizes sizes) const {
    const Tensor tensor = Device::allocate(first_, sizes, TypeOf<T>::type);
    return {tensor, static_cast<T*>(tensor.data_ptr())};
  }

  // The ids sorted; equal ones keep their order.
  SortedIds sorted(const Tensor& ids) {
    using torch::stable::detail::from;
    using torch::stable::detail::to;
    std::vector<StableIValue> stack = {from(torch::stable::view(ids, {ids.numel()})), from(std::optional<bool>(true)),
                                       from(int64_t{0}), from(false)};
    TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", stack.data(), TORCH_ABI_VERSION));
    return {data_of<int64_t>(kept_.emplace_back(to<Tensor>(stack[0]))),
            data_of<int64_t>(kept_.emplace_back(to<Tensor>(stack[1])))};
  }

  // Where kernels run. Their scratch is freed with the call.
  auto where() {
    return device_.where({[](void* call, int64_t bytes) { return static_cast<Call*>(call)->scratch(bytes); }, this});
  }

  void check_place(const Tensor& tensor, const char* name) const {
    if (!device_.holds(tensor)) fail(name, " must be on ", Device::kPlace);
  }

  void check_shape(const Tensor& tensor, const char* name, const char* shape, Sizes sizes) const {
    bool good = tensor.dim() == static_cast<int64_t>(sizes.size());
    int64_t d = 0;
    for (int64_t size : sizes) {
      good = good && (size < 0 || tensor.size(d) == size);
      ++d;
    }
    if (!good) fail(name, " must be ", shape, ", got ", shape_text(tensor));
    if (!tensor.is_contiguous()) fail(name, " must be contiguous");
    check_address(tensor, name);
    check_place(tensor, name);
  }

 private:
  template <typename T>
  static const T* data_of(const Tensor& tensor) {
    return static_cast<const T*>(tensor.data_ptr());
  }

  static void check_address(const Tensor& tensor, const char* name) {
    const uintptr_t size = tensor.element_size(), address = reinterpret_cast<uintptr_t>(tensor.data_ptr());
    if (address % size != 0) fail(name, " must start at a multiple of its elements' ", size, " bytes");
  }

  static std::string shape_text(const Tensor& tensor) {
    std::ostringstream text;
    text << '[';
    for (int64_t d = 0; d < tensor.dim(); ++d) text << (d ? ", " : "") << tensor.size(d);
    text << ']';
    return text.str();
  }

  void* scratch(int64_t bytes) {
    return kept_.emplace_back(Device::allocate(first_, {bytes}, ScalarType::Byte)).data_ptr();
  }

  const Tensor first_;
  const char* name_;
  const Device device_;
  std::vector<Tensor> kept_;
};

}  // namespace ans
