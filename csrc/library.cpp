// The operators' schemas, their CPU implementations' argument checks, and the Python module with build_info().
#include "cpu/propagate.h"
#include "cpu/sample_negatives.h"
#include "dispatch.h"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <optional>

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
  Tensor scratch = torch::stable::new_empty(like, {2 * graph.n_nodes * cpu::group_width<T>(dim)});
  cpu::PropagateArgs<T> args = {};
  args.graph = graph;
  args.dim = dim;
  args.n_layers = n_layers;
  args.factor = T{1};
  args.scratch = scratch.mutable_data_ptr<T>();
  args.n_threads = threads_for((graph.n_indices + graph.n_nodes) * dim, 1 << 16);
  describe(args);
  bool sound;
  if constexpr (sizeof(T) == sizeof(float)) sound = cpu::propagate_float(args);
  else sound = cpu::propagate_double(args);
  if (!sound) fail("indptr must ascend in [0, ", graph.n_indices, "], and indices be in [0, ", graph.n_nodes, ")");
}

// Where the rows of `nodes` [R] lie among the R rows: int32 [n_nodes], -1 for other nodes. Nothing for all nodes.
std::optional<Tensor> places_of(const std::optional<Tensor>& nodes, int64_t n_nodes) {
  if (!nodes) return std::nullopt;
  check_ids(*nodes, "nodes", "[R]", {-1});
  Tensor places = torch::stable::new_empty(*nodes, {n_nodes}, ScalarType::Int);
  int32_t* place = places.mutable_data_ptr<int32_t>();
  std::fill(place, place + n_nodes, -1);
  const int64_t* ids = nodes->const_data_ptr<int64_t>();
  for (int64_t r = 0; r < nodes->numel(); ++r) {
    if (ids[r] < 0 || ids[r] >= n_nodes || (r > 0 && ids[r] <= ids[r - 1]))
      fail("nodes must ascend in [0, ", n_nodes, "), got ", ids[r], " at position ", r);
    place[ids[r]] = static_cast<int32_t>(r);
  }
  return places;
}

const int32_t* pointer(const std::optional<Tensor>& places) {
  return places ? places->const_data_ptr<int32_t>() : nullptr;
}

int64_t row_count(const std::optional<Tensor>& nodes, int64_t n_nodes) { return nodes ? nodes->numel() : n_nodes; }

Tensor propagate(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int64_t n_layers, std::optional<Tensor> nodes) {
  check_shape(x, "x", "[N, D]", {-1, -1});
  check_range("n_layers", n_layers, 0, 1000);
  const int64_t n_nodes = x.size(0), dim = x.size(1), hops = n_layers + 1;
  const cpu::GraphView graph = view_graph(indptr, indices, scale, n_nodes);
  const std::optional<Tensor> places = places_of(nodes, n_nodes);
  Tensor out = torch::stable::new_empty(x, {row_count(nodes, n_nodes), hops, dim});
  with_element_type(x, "x", [&](auto zero) {
    using T = decltype(zero);
    run_propagate<T>(x, graph, dim, n_layers, [&](cpu::PropagateArgs<T>& args) {
      args.x = x.const_data_ptr<T>();
      args.x_row = args.out_hop = dim;
      args.out = out.mutable_data_ptr<T>();
      args.out_row = hops * dim;
      args.to = pointer(places);
    });
  });
  return out;
}

// Horner: z = grad[:, L]; then z = Â z + grad[:, k] for k = L − 1 … 0.
Tensor propagate_backward(Tensor grad, Tensor indptr, Tensor indices, Tensor scale, std::optional<Tensor> nodes) {
  check_shape(grad, "grad", "[R, H, D]", {-1, -1, -1});
  check_range("grad's number of hops", grad.size(1), 1, 1001);
  const int64_t n_nodes = nodes ? indptr.numel() - 1 : grad.size(0), hops = grad.size(1), dim = grad.size(2);
  check_shape(grad, "grad", "[R, H, D]", {row_count(nodes, n_nodes), hops, dim});
  const cpu::GraphView graph = view_graph(indptr, indices, scale, n_nodes);
  const std::optional<Tensor> places = places_of(nodes, n_nodes);
  Tensor out = torch::stable::new_empty(grad, {n_nodes, dim});
  with_element_type(grad, "grad", [&](auto zero) {
    using T = decltype(zero);
    run_propagate<T>(grad, graph, dim, hops - 1, [&](cpu::PropagateArgs<T>& args) {
      args.add = args.x = grad.const_data_ptr<T>() + (hops - 1) * dim;
      args.add_row = args.x_row = hops * dim;
      args.add_hop = -dim;
      args.out = out.mutable_data_ptr<T>();
      args.out_row = dim;
      args.from = pointer(places);
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
  const int64_t n_rows = row_count(nodes, n_nodes);
  check_shape(x, "x", transposed ? "[R, D]" : "[N, D]", {transposed ? n_rows : n_nodes, dim});
  const cpu::GraphView graph = view_graph(indptr, indices, scale, n_nodes);
  const std::optional<Tensor> places = places_of(nodes, n_nodes);
  Tensor out = torch::stable::new_empty(x, {transposed ? n_nodes : n_rows, dim});
  with_element_type(x, "x", [&](auto zero) {
    using T = decltype(zero);
    run_propagate<T>(x, graph, dim, n_layers, [&](cpu::PropagateArgs<T>& args) {
      args.add = args.x = x.const_data_ptr<T>();
      args.add_row = args.x_row = args.out_row = dim;
      args.out = out.mutable_data_ptr<T>();
      args.factor = T{1} / static_cast<T>(n_layers + 1);
      (transposed ? args.from : args.to) = pointer(places);
    });
  });
  return out;
}

Tensor sample_negatives(Tensor indptr, Tensor indices, Tensor users, int64_t n_users, int64_t n_items,
                        int64_t n_negatives, Tensor seed, int64_t first_item) {
  check_sampling(indptr, indices, users, n_users, n_items, n_negatives, first_item);
  const int64_t n_rows = users.size(0);
  Tensor out = torch::stable::new_empty(users, {n_rows, n_negatives});
  const int64_t* ids = users.const_data_ptr<int64_t>();
  const int64_t failed = cpu::sample_negatives(
      {indptr.const_data_ptr<int64_t>(), indices.const_data_ptr<int32_t>(), indices.numel(), ids, n_rows, n_users,
       n_items, n_negatives, first_item, cpu_seed(seed), out.mutable_data_ptr<int64_t>(),
       threads_for(n_rows * n_negatives, 1 << 11)});
  if (failed < n_rows) {
    const int64_t user = ids[failed];
    if (user < 0 || user >= n_users)
      fail("users must be in [0, ", n_users, "), got ", user, " at position ", failed);
    const int64_t* row = indptr.const_data_ptr<int64_t>() + user;
    if (row[0] < 0 || row[0] > row[1] || row[1] > indices.numel())
      fail("indptr must ascend in [0, ", indices.numel(), "]");
    fail("user ", user, " (at position ", failed, ") has clicked every item from ", first_item,
         " on: there is no negative to draw");
  }
  return out;
}

Tensor ans_noise(Tensor seed, int64_t n_rows, int64_t dim) {
  check_range("n_rows", n_rows, 0, INT64_MAX);
  check_range("dim", dim, 0, INT32_MAX);
  Tensor out = torch::stable::new_empty(seed, {n_rows, dim}, ScalarType::Float);
  cpu::ans_noise({cpu_seed(seed), n_rows, dim, out.mutable_data_ptr<float>(), threads_for(n_rows * dim, 1 << 14)});
  return out;
}

pybind11::dict build_info() {
  pybind11::list levels;
#define ANS_APPEND_LEVEL(level, unused) levels.append(#level);
  ANS_FOR_EACH_LEVEL(ANS_APPEND_LEVEL, 0)
  pybind11::dict info;
  info["version"] = ANS_VERSION;
  info["torch"] = ANS_TORCH;
  info["compiler"] = __VERSION__;
  info["simd"] = levels;
  info["simd_in_use"] = cpu::simd_level_name(cpu::simd_level());
  info["cuda"] = *ANS_CUDA ? pybind11::object(pybind11::str(ANS_CUDA)) : pybind11::none();
  info["cuda_architectures"] = pybind11::str(ANS_CUDA_ARCHITECTURES).attr("split")();
  return info;
}

}  // namespace
}  // namespace ans

STABLE_TORCH_LIBRARY(ans_fast, m) {
  m.def("propagate(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int n_layers, Tensor? nodes) -> Tensor");
  m.def("propagate_backward(Tensor grad, Tensor indptr, Tensor indices, Tensor scale, Tensor? nodes) -> Tensor");
  m.def(
      "propagate_mean(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int n_layers, Tensor? nodes, "
      "bool transposed) -> Tensor");
  m.def(
      "sample_negatives(Tensor indptr, Tensor indices, Tensor users, int n_users, int n_items, int n_negatives, "
      "Tensor seed, int first_item) -> Tensor");
  m.def("ans_noise(Tensor seed, int n_rows, int dim) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  m.impl("propagate", TORCH_BOX(&ans::propagate));
  m.impl("propagate_backward", TORCH_BOX(&ans::propagate_backward));
  m.impl("propagate_mean", TORCH_BOX(&ans::propagate_mean));
  m.impl("sample_negatives", TORCH_BOX(&ans::sample_negatives));
  m.impl("ans_noise", TORCH_BOX(&ans::ans_noise));
}

PYBIND11_MODULE(_C, m) { m.def("build_info", &ans::build_info, "What this build was made with, as a dict."); }
