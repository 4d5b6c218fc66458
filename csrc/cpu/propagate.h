// Light graph convolution: every layer sums rows over a node's neighbours, scaled on both sides by deg^-1/2.
#pragma once

#include "common/args.h"
#include "cpu/simd.h"

namespace ans::cpu {

using ans::GraphView;

// Node i's row is the i-th of its table, unless `from` or `to` says otherwise.
template <typename T>
struct PropagateArgs : PropagateInputs<T, T> {
  const int32_t* from;  // [n_nodes], or null: the row of x and add that is node i's; below 0 it is zeros
  const int32_t* to;    // [n_nodes], or null: the row of out that is node i's; below 0 it is not wanted
  T* scratch;           // scratch_size(*this), aligned to 64 bytes
  int n_threads;
};

// How many columns at most go through the layers together: those of two cache lines.
template <typename T>
constexpr int64_t group_width(int64_t dim) {
  constexpr int64_t line = 64 / sizeof(T);
  return dim > line ? 2 * line : line;
}

// A table of the group's columns; one more, with a row of zeros, for the first layer if its rows lie elsewhere.
template <typename T>
int64_t scratch_size(const PropagateArgs<T>& a) {
  return (a.graph.n_nodes + (a.from ? a.graph.n_nodes + 1 : 0)) * group_width<T>(a.dim);
}

using PropagateFloatArgs = PropagateArgs<float>;
using PropagateDoubleArgs = PropagateArgs<double>;
// False, and nothing read out of bounds, if indptr does not ascend within [0, n_indices], or an index is not on the other
// side: users' rows come first, have half of the indices, and lead to items.
ANS_FUNCTION(bool, propagate_float, PropagateFloatArgs)
ANS_FUNCTION(bool, propagate_double, PropagateDoubleArgs)

}  // namespace ans::cpu
