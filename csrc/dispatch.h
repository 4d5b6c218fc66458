// What the CPU operators share: how many threads, which element type, and ids that may be read.
#pragma once

#include "check.h"

namespace ans {

// Threads for `work` units; one for so little that waking others would cost more.
inline int threads_for(int64_t work, int64_t worth_a_thread) {
  const int64_t useful = work / worth_a_thread + 1;
  const int64_t all = torch::stable::get_num_threads();
  return static_cast<int>(useful < all ? useful : all);
}

// Calls function(T{}) with T the tensor's element type.
template <typename Function>
void with_element_type(const Tensor& tensor, const char* name, Function function) {
  if (tensor.scalar_type() == ScalarType::Float) function(float{});
  else if (tensor.scalar_type() == ScalarType::Double) function(double{});
  else fail(name, " must be float32 or float64");
}

}  // namespace ans
