// The propagation operators: argument checks, and where the kernel reads and writes rows.
#include "cpu/propagate.h"

#include <optional>

#include "dispatch.h"
#include "distinct.h"

namespace ans {
namespace {

cpu::GraphView view_graph(const Tensor& indptr, const Tensor& indices, const Tensor& scale, int64_t n_nodes) {
  check_graph(indptr, indices, n_nodes);
  check_shape(scale, "scale", "[N]", {n_nodes});
  check_type(scale, "scale", ScalarType::Float, "float32");
  return {indptr.const_data_ptr<int64_t>(), indices.const_data_ptr<int32_t>(), scale.const_data_ptr<float>(), n_nodes,
          indices.numel()};
}

// Calls the kernel of `like`'s element type. `describe` fills in where rows are read and written.
template <typename T, typename Describe>
void run_propagate(const Tensor& like, const cpu::GraphView& graph, int64_t dim, int64_t n_layers, Describe describe) {
  cpu::PropagateArgs<T> args = {};
  args.graph = graph;
  args.dim = dim;
  args.n_layers = n_layers;
  args.factor = T{1};
  args.n_threads = threads_for((graph.n_indices + graph.n_nodes) * dim, 1 << 16);
  describe(args);
  Tensor scratch = torch::stable::new_empty(like, {cpu::scratch_size(args)});
  args.scratch = scratch.mutable_data_ptr<T>();
  bool sound;
  if constexpr (sizeof(T) == sizeof(float)) sound = cpu::propagate_float(args);
  else sound = cpu::propagate_double(args);
  if (!sound)
    fail("indptr must ascend in [0, ", graph.n_indices, "], and indices in [0, ", graph.n_nodes,
         ") lead from users to items and back");
}

std::optional<Distinct> distinct(const std::optional<Tensor>& nodes, int64_t n_nodes) {
  if (!nodes) return std::nullopt;
  return distinct_ids(*nodes, "nodes", "[R]", n_nodes);
}

const int32_t* places_of(const std::optional<Distinct>& nodes) {
  return nodes ? nodes->places.const_data_ptr<int32_t>() : nullptr;
}

int64_t row_count(const std::optional<Distinct>& nodes, int64_t n_nodes) { return nodes ? nodes->n_distinct : n_nodes; }

Tensor propagate(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int64_t n_layers, std::optional<Tensor> nodes) {
  check_shape(x, "x", "[N, D]", {-1, -1});
  check_range("n_layers", n_layers, 0, 1000);
  const int64_t n_nodes = x.size(0), dim = x.size(1), hops = n_layers + 1;
  const cpu::GraphView graph = view_graph(indptr, indices, scale, n_nodes);
  const std::optional<Distinct> found = distinct(nodes, n_nodes);
  Tensor out = torch::stable::new_empty(x, {row_count(found, n_nodes), hops, dim});
  with_element_type(x, "x", [&](auto zero) {
    using T = decltype(zero);
    run_propagate<T>(x, graph, dim, n_layers, [&](cpu::PropagateArgs<T>& args) {
      args.x = x.const_data_ptr<T>();
      args.x_row = args.out_hop = dim;
      args.out = out.mutable_data_ptr<T>();
      args.out_row = hops * dim;
      args.to = places_of(found);
    });
  });
  return found ? for_positions(*found, out, {found->count(), hops, dim}) : out;
}

// Horner: z = grad[:, L]; then z = Â z + grad[:, k] for k = L − 1 … 0.
Tensor propagate_backward(Tensor grad, Tensor indptr, Tensor indices, Tensor scale, std::optional<Tensor> nodes) {
  check_shape(grad, "grad", "[R, H, D]", {-1, -1, -1});
  check_range("grad's number of hops", grad.size(1), 1, 1001);
  const int64_t n_nodes = nodes ? indptr.numel() - 1 : grad.size(0), hops = grad.size(1), dim = grad.size(2);
  if (nodes) check_shape(grad, "grad", "[R, H, D]", {nodes->numel(), hops, dim});
  const cpu::GraphView graph = view_graph(indptr, indices, scale, n_nodes);
  const std::optional<Distinct> found = distinct(nodes, n_nodes);
  if (found) grad = for_distinct(*found, grad, {found->n_distinct, hops, dim});
  Tensor out = torch::stable::new_empty(grad, {n_nodes, dim});
  with_element_type(grad, "grad", [&](auto zero) {
    using T = decltype(zero);
    run_propagate<T>(grad, graph, dim, hops - 1, [&](cpu::PropagateArgs<T>& args) {
      args.add = args.x = grad.const_data_ptr<T>() + (hops - 1) * dim;
      args.add_row = args.x_row = hops * dim;
      args.add_hop = -dim;
      args.out = out.mutable_data_ptr<T>();
      args.out_row = dim;
      args.from = places_of(found);
    });
  });
  return out;
}

// Horner again: z = x; then z = Â z + x, n_layers times; the mean over hops is z / (n_layers + 1). The transpose takes
// rows of `nodes` to all nodes.
Tensor propagate_mean(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int64_t n_layers,
                      std::optional<Tensor> nodes, bool transposed) {
  check_shape(x, "x", transposed ? "[R, D]" : "[N, D]", {-1, -1});
  check_range("n_layers", n_layers, 0, 1000);
  const int64_t n_nodes = nodes ? indptr.numel() - 1 : x.size(0), dim = x.size(1);
  const bool compact = transposed && nodes;
  check_shape(x, "x", compact ? "[R, D]" : "[N, D]", {compact ? nodes->numel() : n_nodes, dim});
  const cpu::GraphView graph = view_graph(indptr, indices, scale, n_nodes);
  const std::optional<Distinct> found = distinct(nodes, n_nodes);
  if (compact) x = for_distinct(*found, x, {found->n_distinct, dim});
  Tensor out = torch::stable::new_empty(x, {transposed ? n_nodes : row_count(found, n_nodes), dim});
  with_element_type(x, "x", [&](auto zero) {
    using T = decltype(zero);
    run_propagate<T>(x, graph, dim, n_layers, [&](cpu::PropagateArgs<T>& args) {
      args.add = args.x = x.const_data_ptr<T>();
      args.add_row = args.x_row = args.out_row = dim;
      args.out = out.mutable_data_ptr<T>();
      args.factor = T{1} / static_cast<T>(n_layers + 1);
      (transposed ? args.from : args.to) = places_of(found);
    });
  });
  return found && !transposed ? for_positions(*found, out, {found->count(), dim}) : out;
}

}  // namespace
}  // namespace ans

STABLE_TORCH_LIBRARY_FRAGMENT(ans_fast, m) {
  m.def("propagate(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int n_layers, Tensor? nodes) -> Tensor");
  m.def("propagate_backward(Tensor grad, Tensor indptr, Tensor indices, Tensor scale, Tensor? nodes) -> Tensor");
  m.def(
      "propagate_mean(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int n_layers, Tensor? nodes, "
      "bool transposed) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  m.impl("propagate", TORCH_BOX(&ans::propagate));
  m.impl("propagate_backward", TORCH_BOX(&ans::propagate_backward));
  m.impl("propagate_mean", TORCH_BOX(&ans::propagate_mean));
}
