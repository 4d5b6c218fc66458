// The CPU as operators see it (csrc/ops/call.h).
#pragma once

#include "ops/call.h"

namespace ans {

template <>
struct TypeOf<cpu::bfloat16> {
  static constexpr ScalarType type = ScalarType::BFloat16;
};

namespace cpu {

class Device {
 public:
  using Short = bfloat16;
  static constexpr const char* kPlace = "the CPU";
  static constexpr int64_t kMaxDim = INT64_MAX;
  static constexpr bool kReadsIds = true;  // so that those out of range are errors
  static constexpr bool kAtomics = false;  // sums of shared rows have one order anyway

  explicit Device(const Tensor&) {}
  bool holds(const Tensor& tensor) const { return tensor.is_cpu(); }
  Threads where(const Memory& memory) const {
    return {static_cast<int>(torch::stable::get_num_threads()), memory};
  }

  static bool reads_now(const Tensor& seed) { return seed.is_cpu(); }
  static Tensor aligned(const Tensor& rows) { return rows; }
  static Tensor allocate(const Tensor& like, Sizes sizes, ScalarType type) {
    return torch::stable::new_empty(like, sizes, type);
  }

  template <typename Function>
  static auto with_row_type(const Tensor& rows, const char* name, Function function) {
    if (rows.scalar_type() == ScalarType::BFloat16) return function(bfloat16{});
    return with_float_type(rows, name, function);
  }

  template <typename Function>
  static auto with_float_type(const Tensor& rows, const char* name, Function function) {
    if (rows.scalar_type() == ScalarType::Float) return function(float{});
    if (rows.scalar_type() == ScalarType::Double) return function(double{});
    fail(name, " must be float32 or float64, or where rows may have 16 bits bfloat16");
  }
};

}  // namespace cpu
}  // namespace ans
