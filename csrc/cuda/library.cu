// The graph's operators on CUDA tensors: checks, memory, launches. csrc/propagate.cpp has the
// schemas of those that are not in csrc/ops.
//
// Nothing here waits for the GPU, so ids on it are not checked: a broken graph gives NaN.
#define ANS_HOST
#include "cuda/device.h"
#include "cuda/propagate.h"
#include "cuda/tensors.h"
#include "ops/all.h"

namespace ans::cuda {
namespace {

// Fills in the graph and allocates what the kernels scribble on, calls them, and checks the launches. `describe` says
// where rows are read and written.
template <typename Describe>
void run_propagate(const Tensor& like, const char* name, const Tensor& indptr, const Tensor& indices,
                   const Tensor& scale, int64_t n_nodes, int64_t dim, int64_t n_layers, Describe describe) {
  check_graph(indptr, indices, n_nodes);
  check_shape(scale, "scale", "[N]", {n_nodes});
  check_type(scale, "scale", ScalarType::Float, "float32");
  check_device(indptr, "indptr", like);
  check_device(indices, "indices", like);
  check_device(scale, "scale", like);
  if (n_nodes == 0 || dim == 0 || n_layers == 0) return;
  const OnDeviceOf device(like);
  const int64_t chunks = propagate_chunks(n_nodes, indices.numel());
  const Tensor partials = torch::stable::new_empty(like, {2, chunks, dim}, ScalarType::Float);
  with_row_type(like, name, [&](auto zero) {
    using T = decltype(zero);
    PropagateArgs<T> args = {};
    args.graph = {read<int64_t>(indptr), read<int32_t>(indices), read<float>(scale), n_nodes, indices.numel()};
    args.dim = dim;
    args.n_layers = n_layers;
    args.factor = 1.0f;
    args.partials = write<float>(partials);
    describe(args);
    const bool scratch_is_used = args.out_hop == 0 && n_layers > 1;
    const Tensor scratch = torch::stable::new_empty(like, {scratch_is_used ? 2 : 0, n_nodes, dim});
    args.scratch = write<T>(scratch);
    propagate(args, device.stream());
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

// Fewer nodes than all: in Python, since their number is not known on the host.
void check_all(const std::optional<Tensor>& nodes) {
  if (nodes) fail("nodes must be None on a GPU");
}

Tensor propagate_op(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int64_t n_layers,
                    std::optional<Tensor> nodes) {
  check_all(nodes);
  check_shape(x, "x", "[N, D]", {-1, -1});
  check_range("n_layers", n_layers, 0, 1000);
  const int64_t n_nodes = x.size(0), dim = x.size(1), hops = n_layers + 1;
  Tensor out = torch::stable::new_empty(x, {n_nodes, hops, dim});
  Tensor first = torch::stable::select(out, 1, 0);
  torch::stable::copy_(first, x);
  const Tensor rows = aligned(x);
  run_propagate(x, "x", indptr, indices, scale, n_nodes, dim, n_layers, [&](auto& args) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(args.x)>>;
    args.x = read<T>(rows);
    args.x_row = args.out_hop = dim;
    args.out = write<T>(out);
    args.out_row = hops * dim;
  });
  return out;
}

// Horner: z = grad[:, L]; then z = Â z + grad[:, k] for k = L − 1 … 0.
Tensor propagate_backward_op(Tensor grad, Tensor indptr, Tensor indices, Tensor scale, std::optional<Tensor> nodes) {
  check_all(nodes);
  check_shape(grad, "grad", "[N, H, D]", {-1, -1, -1});
  check_range("grad's number of hops", grad.size(1), 1, 1001);
  const int64_t n_nodes = grad.size(0), hops = grad.size(1), dim = grad.size(2);
  // Where the first hop starts at 16 bytes all do, or D is no multiple of 16 bytes and rows are read by the value.
  const Tensor rows = aligned(grad);
  if (hops == 1) return torch::stable::clone(torch::stable::select(grad, 1, 0));
  Tensor out = torch::stable::new_empty(grad, {n_nodes, dim});
  run_propagate(grad, "grad", indptr, indices, scale, n_nodes, dim, hops - 1, [&](auto& args) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(args.x)>>;
    args.add = args.x = read<T>(rows) + (hops - 1) * dim;
    args.add_row = args.x_row = hops * dim;
    args.add_hop = -dim;
    args.out = write<T>(out);
    args.out_row = dim;
  });
  return out;
}

// Horner again: z = x; then z = Â z + x, n_layers times; the mean over hops is z / (n_layers + 1). Its own transpose.
Tensor propagate_mean_op(Tensor x, Tensor indptr, Tensor indices, Tensor scale, int64_t n_layers,
                         std::optional<Tensor> nodes, [[maybe_unused]] bool transposed) {
  check_all(nodes);
  check_shape(x, "x", "[N, D]", {-1, -1});
  check_range("n_layers", n_layers, 0, 1000);
  if (n_layers == 0) return torch::stable::clone(x);
  const Tensor rows = aligned(x);
  Tensor out = torch::stable::new_empty(x, {x.size(0), x.size(1)});
  run_propagate(x, "x", indptr, indices, scale, x.size(0), x.size(1), n_layers, [&](auto& args) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(args.x)>>;
    args.add = args.x = read<T>(rows);
    args.add_row = args.x_row = args.out_row = x.size(1);
    args.out = write<T>(out);
    args.factor = 1.0f / static_cast<float>(n_layers + 1);
  });
  return out;
}

}  // namespace
}  // namespace ans::cuda

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CUDA, m) {
  m.impl("propagate", TORCH_BOX(&ans::cuda::propagate_op));
  m.impl("propagate_backward", TORCH_BOX(&ans::cuda::propagate_backward_op));
  m.impl("propagate_mean", TORCH_BOX(&ans::cuda::propagate_mean_op));
  ans::ops::implement<ans::cuda::Device>(m);
}
