// A gated recurrent unit over sequences of ids, of which the long come before the short. On the CPU alone.
#pragma once

#include "common/kernel.h"

namespace ans {

// B sequences of P ids together; an id's vector has D values, a state H. Ids lie by steps: the first of every sequence,
// then all second ones, and so on.
template <typename T>
struct GruInputs {
  using Value = T;
  const T* table;        // [n, D]
  const int64_t* ids;    // [P], rows of the table
  const int64_t* sizes;  // [n_steps], P together: how many sequences have a first id, a second one, …; never more
  const T* weight_ih;    // [3H, D], of gates r, z and n
  const T* weight_hh;    // [3H, H]
  int64_t n_table, n_ids, n_steps, n_sequences, dim, size;
};

// A row in whole registers, the widest ones.
constexpr int64_t padded_size(int64_t size) { return (size + 15) / 16 * 16; }

template <typename T>
struct GruForwardArgs : GruInputs<T> {
  const T* bias_ih;  // [3H]
  const T* bias_hh;  // [3H]
  T* states;         // [B, H]
  T* gates;          // [P, 4, padded_size(H)], or null, not wanted: at each id r, z, the state's share of n, and n
  T* after;          // [P, padded_size(H)], or null as well: the state after each id
};
ANS_FLOAT_KERNEL(gru_forward, GruForwardArgs)

template <typename T>
struct GruBackwardArgs : GruInputs<T> {
  const T* grad;      // [B, H]
  const T* gates;     // as the forward pass left them
  const T* after;
  T* grad_table;      // [n, D]
  T* grad_weight_ih;  // [3H, D]
  T* grad_weight_hh;  // [3H, H]
  T* grad_bias_ih;    // [3H]
  T* grad_bias_hh;    // [3H]
};
ANS_FLOAT_KERNEL(gru_backward, GruBackwardArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include <tuple>

#include "ops/call.h"

namespace ans::ops {

constexpr char kGruStates[] =
    "gru_states(Tensor table, Tensor ids, Tensor sizes, int n_sequences, Tensor weight_ih, Tensor weight_hh, "
    "Tensor bias_ih, Tensor bias_hh, bool save) -> (Tensor, Tensor, Tensor)";
constexpr char kGruStatesBackward[] =
    "gru_states_backward(Tensor grad, Tensor gates, Tensor after, Tensor table, Tensor ids, Tensor sizes, "
    "Tensor weight_ih, Tensor weight_hh) -> (Tensor, Tensor, Tensor, Tensor, Tensor)";

template <typename T>
void check_sizes(const GruInputs<T>& args) {
  int64_t before = args.n_sequences, total = 0;
  for (int64_t step = 0; step < args.n_steps; ++step) {
    const int64_t size = args.sizes[step];
    if (size < 0 || size > before)
      fail("sizes must be in [0, ", before, "] after ", before, " sequences, got ", size, " at position ", step);
    before = size;
    total += size;
  }
  if (total != args.n_ids) fail("sizes must add up to ", args.n_ids, " ids, got ", total);
}

// Fills in what both directions are given.
template <typename T, typename Device>
void set_inputs(Call<Device>& call, GruInputs<T>& args, const Tensor& table, const Tensor& ids, const Tensor& sizes,
                int64_t n_sequences, const Tensor& weight_ih, const Tensor& weight_hh) {
  args.table = call.template rows<T>(table, "table", "[n, D]", {-1, -1});
  call.check_shape(weight_hh, "weight_hh", "[3H, H]", {-1, -1});
  args.n_table = table.size(0);
  args.dim = table.size(1);
  args.size = weight_hh.size(1);
  check_range("table's D", args.dim, 1, 1 << 20);
  check_range("weight_hh's H", args.size, 1, 1 << 20);
  args.weight_hh = call.template rows<T>(weight_hh, "weight_hh", "[3H, H]", {3 * args.size, args.size});
  args.weight_ih = call.template rows<T>(weight_ih, "weight_ih", "[3H, D]", {3 * args.size, args.dim});
  args.ids = call.ids(ids, "ids", "[P]", {-1});
  args.n_ids = ids.numel();
  check_range("ids' P", args.n_ids, 0, INT32_MAX);
  check_ids_below(args.ids, args.n_ids, "ids", args.n_table);
  args.sizes = call.ids(sizes, "sizes", "[n_steps]", {-1});
  args.n_steps = sizes.numel();
  args.n_sequences = n_sequences;
  check_range("n_sequences", n_sequences, 0, INT32_MAX);
  check_sizes(args);
}

template <typename Device>
std::tuple<Tensor, Tensor, Tensor> gru_states(Tensor table, Tensor ids, Tensor sizes, int64_t n_sequences,
                                              Tensor weight_ih, Tensor weight_hh, Tensor bias_ih, Tensor bias_hh,
                                              bool save) {
  Call<Device> call(table, "table");
  return call.with_float_type([&](auto zero) {
    using T = decltype(zero);
    GruForwardArgs<T> args = {};
    set_inputs(call, args, table, ids, sizes, n_sequences, weight_ih, weight_hh);
    args.bias_ih = call.template rows<T>(bias_ih, "bias_ih", "[3H]", {3 * args.size});
    args.bias_hh = call.template rows<T>(bias_hh, "bias_hh", "[3H]", {3 * args.size});
    const int64_t n_saved = save ? args.n_ids : 0, width = padded_size(args.size);
    const auto states = call.template output<T>({n_sequences, args.size});
    const auto gates = call.template output<T>({n_saved, 4, width});
    const auto after = call.template output<T>({n_saved, width});
    args.states = states.data;
    args.gates = save ? gates.data : nullptr;
    args.after = save ? after.data : nullptr;
    gru_forward(args, call.where());
    return std::make_tuple(states.tensor, gates.tensor, after.tensor);
  });
}

template <typename Device>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gru_states_backward(Tensor grad, Tensor gates, Tensor after,
                                                                       Tensor table, Tensor ids, Tensor sizes,
                                                                       Tensor weight_ih, Tensor weight_hh) {
  Call<Device> call(table, "table");
  return call.with_float_type([&](auto zero) {
    using T = decltype(zero);
    GruBackwardArgs<T> args = {};
    call.check_shape(grad, "grad", "[B, H]", {-1, -1});
    set_inputs(call, args, table, ids, sizes, grad.size(0), weight_ih, weight_hh);
    const int64_t dim = args.dim, size = args.size, width = padded_size(size);
    args.grad = call.template rows<T>(grad, "grad", "[B, H]", {-1, size});
    args.gates = call.template rows<T>(gates, "gates", "[P, 4, H rounded up to 16]", {args.n_ids, 4, width});
    args.after = call.template rows<T>(after, "after", "[P, H rounded up to 16]", {args.n_ids, width});
    const auto gradient = [&](T*& data, Sizes shape) {
      const auto made = call.template output<T>(shape);
      data = made.data;
      return made.tensor;
    };
    const std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gradients = {
        gradient(args.grad_table, {args.n_table, dim}), gradient(args.grad_weight_ih, {3 * size, dim}),
        gradient(args.grad_weight_hh, {3 * size, size}), gradient(args.grad_bias_ih, {3 * size}),
        gradient(args.grad_bias_hh, {3 * size})};
    gru_backward(args, call.where());
    return gradients;
  });
}

}  // namespace ans::ops
#endif
