// What an operator's kernels are given, on the CPU and on the GPU alike. Seed: the number itself, or where a GPU finds it.
#pragma once

#include <cstdint>

namespace ans {

// A graph's rows of neighbours, and the factors that scale them.
struct GraphView {
  const int64_t* indptr;   // [n_nodes + 1]
  const int32_t* indices;  // [n_indices]
  const float* scale;      // [n_nodes]: deg^-1/2, 0 for a node without edges
  int64_t n_nodes, n_indices;
};

// rows[0] = x; layer k = 1 … n_layers: rows[k] = Â rows[k-1] + add[k]. A table's row i starts at pointer + i * row.
template <typename T, typename Sum>
struct PropagateInputs {
  GraphView graph;
  int64_t dim, n_layers;
  const T* x;
  int64_t x_row;
  const T* add;  // of layer k: add + k * add_hop, or null for nothing
  int64_t add_row, add_hop;
  T* out;  // layer k is written to out + k * out_hop; with out_hop = 0 only the last one is, times `factor`
  int64_t out_row, out_hop;
  Sum factor;
};

}  // namespace ans
