// Light graph convolution on the GPU: two launches a layer, work split evenly over edges and rows.
#pragma once

#include "common/args.h"
#include "cuda/platform.h"

namespace ans::cuda {

// Tables start at 16 bytes. The caller writes rows[0] where it wants them.
template <typename T>
struct PropagateArgs : PropagateInputs<T, float> {
  T* scratch;       // [2, n_nodes, dim] with out_hop = 0 and several layers
  float* partials;  // [2, propagate_chunks(…), dim]
};

// Into how many equal parts a graph's rows and edges are cut.
int64_t propagate_chunks(int64_t n_nodes, int64_t n_indices);

// T is float, __nv_bfloat16 or __half.
template <typename T>
void propagate(const PropagateArgs<T>& args, cudaStream_t stream);

}  // namespace ans::cuda
