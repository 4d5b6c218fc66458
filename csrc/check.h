// Argument checks and small conveniences over LibTorch's stable ABI, for the CPU and the CUDA half.
//
// The Python wrappers check shapes and dtypes with friendlier types of error; these here keep a direct call of
// torch.ops.ans_fast.* from reading memory it should not.
#pragma once

#include "ops/call.h"

namespace ans {

inline std::string shape_text(const Tensor& tensor) {
  std::ostringstream text;
  text << '[';
  for (int64_t d = 0; d < tensor.dim(); ++d) text << (d ? ", " : "") << tensor.size(d);
  text << ']';
  return text.str();
}

inline void check_address(const Tensor& tensor, const char* name) {
  const uintptr_t size = tensor.element_size(), address = reinterpret_cast<uintptr_t>(tensor.data_ptr());
  if (address % size != 0) fail(name, " must start at a multiple of its elements' ", size, " bytes");
}

// `shape` in words is part of the message; -1 allows any size.
inline void check_shape(const Tensor& tensor, const char* name, const char* shape,
                        std::initializer_list<int64_t> sizes) {
  bool good = tensor.dim() == static_cast<int64_t>(sizes.size());
  int64_t d = 0;
  for (int64_t size : sizes) {
    good = good && (size < 0 || tensor.size(d) == size);
    ++d;
  }
  if (!good) fail(name, " must be ", shape, ", got ", shape_text(tensor));
  if (!tensor.is_contiguous()) fail(name, " must be contiguous");
  check_address(tensor, name);
}

inline void check_type(const Tensor& tensor, const char* name, ScalarType type, const char* type_name) {
  if (tensor.scalar_type() != type) fail(name, " must be ", type_name);
}

// `dtype_of` names the tensor `like` in the message: of table's dtype.
inline void check_like(const Tensor& tensor, const char* name, const char* shape, std::initializer_list<int64_t> sizes,
                       const Tensor& like, const char* dtype_of) {
  check_shape(tensor, name, shape, sizes);
  check_type(tensor, name, like.scalar_type(), dtype_of);
}

inline void check_ids(const Tensor& ids, const char* name, const char* shape, std::initializer_list<int64_t> sizes) {
  check_shape(ids, name, shape, sizes);
  check_type(ids, name, ScalarType::Long, "int64");
}

// Shapes and types of a graph of n_nodes nodes.
inline void check_graph(const Tensor& indptr, const Tensor& indices, int64_t n_nodes) {
  check_shape(indptr, "indptr", "[N + 1]", {n_nodes + 1});
  check_shape(indices, "indices", "[2 * n_edges]", {-1});
  check_type(indptr, "indptr", ScalarType::Long, "int64");
  check_type(indices, "indices", ScalarType::Int, "int32");
}

}  // namespace ans
