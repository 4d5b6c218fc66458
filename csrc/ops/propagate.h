// Light graph convolution: every layer sums rows over a node's neighbours, scaled on both sides by deg^-1/2.
#pragma once

#include "common/kernel.h"

namespace ans {

// A graph's rows of neighbours, and the factors that scale them.
struct GraphView {
  const int64_t* indptr;   // [n_nodes + 1]
  const int32_t* indices;  // [n_indices]
  const float* scale;      // [n_nodes]: deg^-1/2, 0 for a node without edges
  int64_t n_nodes, n_indices;
};

// rows[0] = x; layer k = 1 … n_layers: rows[k] = Â rows[k-1] + add[k]. A table's row i starts at pointer + i * row, and
// is node i's unless `from` or `to` says otherwise.
template <typename T>
struct PropagateArgs {
  GraphView graph;
  int64_t dim, n_layers;
  const Outer<T>* x;
  int64_t x_row;
  const Outer<T>* add;  // of layer k: add + k * add_hop, or null for nothing
  int64_t add_row, add_hop;
  Outer<T>* out;  // layer k is written to out + k * out_hop; with out_hop = 0 only the last one is, times `factor`
  int64_t out_row, out_hop;
  Sum<Outer<T>> factor;
  const int32_t* from;  // [n_nodes], or null: the row of x and add that is node i's, in [0, n_from); below 0 it is zeros
  int64_t n_from;
  const int32_t* to;  // [n_nodes], or null: the row of out that is node i's; below 0 it is not wanted
  // Becomes false, and nothing is read out of bounds, if indptr does not ascend within [0, n_indices], or an index is not
  // on the other side: users' rows come first, have half of the indices, and lead to items. Null: not wanted; what a
  // broken index reaches is NaN.
  bool* sound;
};
ANS_HOP_KERNEL(propagate, PropagateArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include "ops/graph.h"
#include "ops/repeats.h"

namespace ans::ops {

constexpr char kPropagate[] =
    "propagate(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int n_layers, Tensor? nodes) -> Tensor";
constexpr char kPropagateBackward[] =
    "propagate_backward(Tensor grad, Tensor indptr, Tensor indices, Tensor scale, Tensor? nodes) -> Tensor";
constexpr char kPropagateMean[] =
    "propagate_mean(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int n_layers, Tensor? nodes, "
    "bool short_hops, bool transposed) -> Tensor";

// The number of nodes of a graph.
template <typename Device>
int64_t count_nodes(Call<Device>& call, const Tensor& indptr) {
  call.check_shape(indptr, "indptr", "[N + 1]", {-1});
  check_range("indptr's N + 1", indptr.numel(), 1, int64_t{INT32_MAX} + 1);
  return indptr.numel() - 1;
}

// The arguments that say which graph, how many layers and of what size.
template <typename T, typename Device>
PropagateArgs<T> graph_args(Call<Device>& call, const Tensor& indptr, const Tensor& indices, const Tensor& scale,
                            int64_t n_nodes, int64_t dim, int64_t n_layers) {
  const Edges edges = edges_of(call, indptr, indices, n_nodes);
  PropagateArgs<T> args = {};
  args.graph = {edges.indptr, edges.indices, call.template values<float>(scale, "scale", "[N]", {n_nodes}), n_nodes,
                edges.n_indices};
  args.dim = dim;
  args.n_layers = n_layers;
  args.factor = 1;
  return args;
}

template <typename T, typename Device>
void run_propagate(PropagateArgs<T>& args, Call<Device>& call) {
  if (args.graph.n_nodes == 0 || args.dim == 0) return;
  bool sound = true;
  if constexpr (Device::kReadsIds) args.sound = &sound;
  propagate(args, call.where());
  if (!sound)
    fail("indptr must ascend in [0, ", args.graph.n_indices, "], and indices in [0, ", args.graph.n_nodes,
         ") lead from users to items and back");
}

template <typename Device>
Tensor propagate(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int64_t n_layers, std::optional<Tensor> nodes) {
  Call<Device> call(x, "x");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    check_range("n_layers", n_layers, 0, 1000);
    const T* rows = call.template rows<T>(x, "x", "[N, D]", {-1, -1});
    const int64_t n_nodes = x.size(0), dim = x.size(1), hops = n_layers + 1;
    PropagateArgs<T> args = graph_args<T>(call, indptr, indices, scale, n_nodes, dim, n_layers);
    const Nodes<Device> wanted(call, nodes, n_nodes);
    const auto out = call.template output<T>({wanted.n_rows(), hops, dim});
    args.x = rows;
    args.x_row = args.out_hop = dim;
    args.out = out.data;
    args.out_row = hops * dim;
    args.to = wanted.row_of();
    run_propagate(args, call);
    wanted.copy(out.data, hops * dim);
    return out.tensor;
  });
}

// Horner: z = grad[:, L]; then z = Â z + grad[:, k] for k = L − 1 … 0.
template <typename Device>
Tensor propagate_backward(Tensor grad, Tensor indptr, Tensor indices, Tensor scale, std::optional<Tensor> nodes) {
  Call<Device> call(grad, "grad");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    const int64_t n_nodes = count_nodes(call, indptr);
    const Nodes<Device> wanted(call, nodes, n_nodes);
    const T* rows = call.template rows<T>(grad, "grad", "[R, H, D]", {wanted.n_rows(), -1, -1});
    const int64_t hops = grad.size(1), dim = grad.size(2);
    check_range("grad's number of hops", hops, 1, 1001);
    PropagateArgs<T> args = graph_args<T>(call, indptr, indices, scale, n_nodes, dim, hops - 1);
    const auto out = call.template output<T>({n_nodes, dim});
    // Where the first hop starts at 16 bytes all do, or D is no multiple of 16 bytes and rows are read by the value.
    args.add = args.x = wanted.sum(rows, hops * dim) + (hops - 1) * dim;
    args.add_row = args.x_row = hops * dim;
    args.add_hop = -dim;
    args.out = out.data;
    args.out_row = dim;
    args.from = wanted.row_of();
    args.n_from = wanted.n_rows();
    run_propagate(args, call);
    return out.tensor;
  });
}

template <typename T, typename Device>
Tensor propagate_mean(Call<Device>& call, const Tensor& x, const Tensor& indptr, const Tensor& indices,
                      const Tensor& scale, int64_t n_layers, const std::optional<Tensor>& nodes, bool transposed) {
  using O = Outer<T>;
  const int64_t n_nodes = count_nodes(call, indptr);
  check_range("n_layers", n_layers, 0, 1000);
  const Nodes<Device> wanted(call, nodes, n_nodes);
  const O* rows = call.template rows<O>(x, "x", transposed ? "[R, D]" : "[N, D]",
                                        {transposed ? wanted.n_rows() : n_nodes, -1});
  const int64_t dim = x.size(1);
  PropagateArgs<T> args = graph_args<T>(call, indptr, indices, scale, n_nodes, dim, n_layers);
  const auto out = call.template output<O>({transposed ? n_nodes : wanted.n_rows(), dim});
  args.add = args.x = transposed ? wanted.sum(rows, dim) : rows;
  args.add_row = args.x_row = args.out_row = dim;
  args.out = out.data;
  args.factor = Sum<O>{1} / static_cast<Sum<O>>(n_layers + 1);
  if (transposed) {
    args.from = wanted.row_of();
    args.n_from = wanted.n_rows();
  } else {
    args.to = wanted.row_of();
  }
  run_propagate(args, call);
  if (!transposed) wanted.copy(out.data, dim);
  return out.tensor;
}

// Horner again: z = x; then z = Â z + x, n_layers times; the mean over hops is z / (n_layers + 1). The transpose takes
// rows of `nodes` to all nodes. With short_hops x and the mean are float32, and z in between is stored in bfloat16.
template <typename Device>
Tensor propagate_mean(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int64_t n_layers,
                      std::optional<Tensor> nodes, bool short_hops, bool transposed) {
  Call<Device> call(x, "x");
  if (short_hops) {
    if (x.scalar_type() != ScalarType::Float) fail("x must be float32 with short_hops");
    using T = Shortened<typename Device::Short>;
    return propagate_mean<T>(call, x, indptr, indices, scale, n_layers, nodes, transposed);
  }
  return call.with_row_type([&](auto zero) {
    return propagate_mean<decltype(zero)>(call, x, indptr, indices, scale, n_layers, nodes, transposed);
  });
}

}  // namespace ans::ops
#endif
