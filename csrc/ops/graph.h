// The tensors of a BipartiteGraph as arguments of an operator.
#pragma once

#include "ops/call.h"

namespace ans::ops {

struct Edges {
  const int64_t* indptr;   // [n_nodes + 1]
  const int32_t* indices;  // [n_indices]
  int64_t n_indices;
};

// Shapes and types are checked, not what they hold.
template <typename Device>
Edges edges_of(Call<Device>& call, const Tensor& indptr, const Tensor& indices, int64_t n_nodes) {
  return {call.template values<int64_t>(indptr, "indptr", "[N + 1]", {n_nodes + 1}),
          call.template values<int32_t>(indices, "indices", "[2 * n_edges]", {-1}), indices.numel()};
}

}  // namespace ans::ops
