// Light graph convolution on the GPU: two launches a layer, work split evenly over edges and rows.
#pragma once

#include "common/args.h"
#include "cuda/platform.h"

namespace ans::cuda {

// rows[0] = x; layer k = 1 … n_layers: rows[k][i] = scale[i] Σ_j scale[j] rows[k-1][j] + add[k][i] over i's neighbours j.
// A table's row i starts at pointer + i * row; pointers are aligned to 16 bytes. The caller writes rows[0] where it
// wants them.
template <typename T>
struct PropagateArgs {
  GraphView graph;
  int64_t dim, n_layers;
  const T* x;
  int64_t x_row;
  const T* add;  // of layer k: add + k * add_hop, or null for nothing
  int64_t add_row, add_hop;
  T* out;  // layer k is written to out + k * out_hop; with out_hop = 0 only the last one is, times `factor`
  int64_t out_row, out_hop;
  float factor;
  T* scratch;       // [2, n_nodes, dim] with out_hop = 0 and several layers
  float* partials;  // [2, propagate_chunks(…), dim]
};

// Into how many equal parts a graph's rows and edges are cut.
int64_t propagate_chunks(int64_t n_nodes, int64_t n_indices);

// T is float, __nv_bfloat16 or __half.
template <typename T>
void propagate(const PropagateArgs<T>& args, cudaStream_t stream);

}  // namespace ans::cuda
