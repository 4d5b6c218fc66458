// The operators gru_states and gru_states_backward: schemas, argument checks, memory.
#include "cpu/gru_states.h"
#include "dispatch.h"

#include <tuple>

namespace ans {
namespace {

void check_float(const Tensor& tensor, const char* name, const char* shape, std::initializer_list<int64_t> sizes,
                 const Tensor& weight) {
  check_shape(tensor, name, shape, sizes);
  check_type(tensor, name, weight.scalar_type(), "of weight's dtype");
}

void check_inputs(const Tensor& inputs, const Tensor& rows, const Tensor& sizes, const Tensor& weight,
                  int64_t n_sequences) {
  check_shape(weight, "weight", "[3H, H]", {-1, -1});
  const int64_t size = weight.size(1);
  check_range("weight's H", size, 1, 1 << 20);
  check_shape(weight, "weight", "[3H, H]", {3 * size, size});
  check_float(inputs, "inputs", "[U, 3H]", {-1, 3 * size}, weight);
  check_ids(rows, "rows", "[P]", {-1});
  check_ids_below(rows.const_data_ptr<int64_t>(), rows.size(0), "rows", inputs.size(0));
  check_ids(sizes, "sizes", "[n_steps]", {-1});
  check_range("n_sequences", n_sequences, 0, INT32_MAX);
  int64_t before = n_sequences, total = 0;
  for (int64_t step = 0; step < sizes.size(0); ++step) {
    const int64_t size_now = sizes.const_data_ptr<int64_t>()[step];
    if (size_now < 0 || size_now > before)
      fail("sizes must be in [0, ", before, "] after ", before, " sequences, got ", size_now, " at position ", step);
    before = size_now;
    total += size_now;
  }
  if (total != rows.size(0)) fail("sizes must add up to ", rows.size(0), " rows, got ", total);
}

struct Scratch {
  const int n_threads;
  const Tensor panels, blocks;

  Scratch(const Tensor& rows, const Tensor& weight)
      : n_threads(threads_for(rows.size(0) * weight.numel(), 1 << 20)),
        panels(torch::stable::new_empty(weight, {cpu::panels_size(weight.size(1))})),
        blocks(torch::stable::new_empty(weight, {n_threads * cpu::block_size(weight.size(1))})) {}
};

template <typename T>
cpu::GruInputs<T> gru_inputs(const Tensor& inputs, const Tensor& rows, const Tensor& sizes, const Tensor& weight,
                             int64_t n_sequences, const Scratch& scratch) {
  return {inputs.const_data_ptr<T>(),
          rows.const_data_ptr<int64_t>(),
          sizes.const_data_ptr<int64_t>(),
          weight.const_data_ptr<T>(),
          inputs.size(0),
          rows.size(0),
          sizes.size(0),
          n_sequences,
          weight.size(1),
          scratch.panels.mutable_data_ptr<T>(),
          scratch.blocks.mutable_data_ptr<T>(),
          scratch.n_threads};
}

std::tuple<Tensor, Tensor, Tensor> gru_states(Tensor inputs, Tensor rows, Tensor sizes, Tensor weight, Tensor bias,
                                              int64_t n_sequences, bool save) {
  check_inputs(inputs, rows, sizes, weight, n_sequences);
  const int64_t size = weight.size(1), n_saved = save ? rows.size(0) : 0, width = cpu::padded_size(size);
  check_float(bias, "bias", "[H]", {size}, weight);
  const Tensor states = torch::stable::new_empty(inputs, {n_sequences, size});
  const Tensor gates = torch::stable::new_empty(inputs, {n_saved, 4, width});
  const Tensor after = torch::stable::new_empty(inputs, {n_saved, width});
  const Scratch scratch(rows, weight);
  with_element_type(inputs, "inputs", [&](auto zero) {
    using T = decltype(zero);
    const cpu::GruForwardArgs<T> args = {gru_inputs<T>(inputs, rows, sizes, weight, n_sequences, scratch),
                                         bias.const_data_ptr<T>(), states.mutable_data_ptr<T>(),
                                         save ? gates.mutable_data_ptr<T>() : nullptr,
                                         save ? after.mutable_data_ptr<T>() : nullptr};
    if constexpr (sizeof(T) == sizeof(float)) cpu::gru_forward_float(args);
    else cpu::gru_forward_double(args);
  });
  return {states, gates, after};
}

std::tuple<Tensor, Tensor, Tensor> gru_states_backward(Tensor grad, Tensor gates, Tensor after, Tensor inputs,
                                                       Tensor rows, Tensor sizes, Tensor weight) {
  check_shape(grad, "grad", "[B, H]", {-1, -1});
  check_inputs(inputs, rows, sizes, weight, grad.size(0));
  const int64_t size = weight.size(1), n_rows = rows.size(0), width = cpu::padded_size(size);
  check_float(grad, "grad", "[B, H]", {grad.size(0), size}, weight);
  check_float(gates, "gates", "[P, 4, H rounded up to 16]", {n_rows, 4, width}, weight);
  check_float(after, "after", "[P, H rounded up to 16]", {n_rows, width}, weight);
  const auto floats = [&](std::initializer_list<int64_t> sizes) { return torch::stable::new_empty(inputs, sizes); };
  const auto indices = [&](int64_t size) { return torch::stable::new_empty(rows, {size}); };
  const Tensor grad_inputs = floats({inputs.size(0), 3 * size}), grad_weight = floats({3 * size, size});
  const Tensor grad_bias = floats({size}), changes = floats({n_rows * 3 * width});
  const Tensor shares = floats({cpu::shares_size(size)}), start = indices(inputs.size(0) + 2), order = indices(n_rows);
  const Scratch scratch(rows, weight);
  with_element_type(inputs, "inputs", [&](auto zero) {
    using T = decltype(zero);
    const cpu::GruBackwardArgs<T> args = {
        gru_inputs<T>(inputs, rows, sizes, weight, grad.size(0), scratch),
        grad.const_data_ptr<T>(), gates.const_data_ptr<T>(), after.const_data_ptr<T>(),
        grad_inputs.mutable_data_ptr<T>(), grad_weight.mutable_data_ptr<T>(), grad_bias.mutable_data_ptr<T>(),
        changes.mutable_data_ptr<T>(), shares.mutable_data_ptr<T>(), start.mutable_data_ptr<int64_t>(),
        order.mutable_data_ptr<int64_t>()};
    if constexpr (sizeof(T) == sizeof(float)) cpu::gru_backward_float(args);
    else cpu::gru_backward_double(args);
  });
  return {grad_inputs, grad_weight, grad_bias};
}

}  // namespace
}  // namespace ans

STABLE_TORCH_LIBRARY_FRAGMENT(ans_fast, m) {
  m.def(
      "gru_states(Tensor inputs, Tensor rows, Tensor sizes, Tensor weight, Tensor bias, int n_sequences, bool save) "
      "-> (Tensor, Tensor, Tensor)");
  m.def(
      "gru_states_backward(Tensor grad, Tensor gates, Tensor after, Tensor inputs, Tensor rows, Tensor sizes, "
      "Tensor weight) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  m.impl("gru_states", TORCH_BOX(&ans::gru_states));
  m.impl("gru_states_backward", TORCH_BOX(&ans::gru_states_backward));
}
