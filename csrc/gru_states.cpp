// The operators gru_states and gru_states_backward: schemas, argument checks, memory.
#include "cpu/gru_states.h"
#include "dispatch.h"
#include "distinct.h"

#include <tuple>

namespace ans {
namespace {

void check_float(const Tensor& tensor, const char* name, const char* shape, std::initializer_list<int64_t> sizes,
                 const Tensor& table) {
  check_like(tensor, name, shape, sizes, table, "of table's dtype");
}

void check_sizes(const Tensor& sizes, int64_t n_ids, int64_t n_sequences) {
  check_ids(sizes, "sizes", "[n_steps]", {-1});
  check_range("n_sequences", n_sequences, 0, INT32_MAX);
  const int64_t* size_at = sizes.const_data_ptr<int64_t>();
  int64_t before = n_sequences, total = 0;
  for (int64_t step = 0; step < sizes.size(0); ++step) {
    const int64_t size = size_at[step];
    if (size < 0 || size > before)
      fail("sizes must be in [0, ", before, "] after ", before, " sequences, got ", size, " at position ", step);
    before = size;
    total += size;
  }
  if (total != n_ids) fail("sizes must add up to ", n_ids, " ids, got ", total);
}

// What both directions are given, and the memory that they share out alike.
struct Sequences {
  Tensor table, ids, sizes, weight_ih, weight_hh;
  int64_t n_sequences;
  Distinct found;
  Tensor distinct, panels, scratch;
  int n_threads;

  Sequences(const Tensor& table, const Tensor& ids, const Tensor& sizes, int64_t n_sequences, const Tensor& weight_ih,
            const Tensor& weight_hh)
      : table(table), ids(ids), sizes(sizes), weight_ih(weight_ih), weight_hh(weight_hh), n_sequences(n_sequences) {
    check_shape(table, "table", "[n, D]", {-1, -1});
    check_shape(weight_hh, "weight_hh", "[3H, H]", {-1, -1});
    check_range("table's D", dim(), 1, 1 << 20);
    check_range("weight_hh's H", size(), 1, 1 << 20);
    check_float(weight_hh, "weight_hh", "[3H, H]", {3 * size(), size()}, table);
    check_float(weight_ih, "weight_ih", "[3H, D]", {3 * size(), dim()}, table);
    found = distinct_ids(ids, "ids", "[P]", table.size(0));
    check_sizes(sizes, ids.size(0), n_sequences);
    distinct = indices(found.n_distinct);
    int64_t* id_of = distinct.mutable_data_ptr<int64_t>();
    const int64_t* id_at = ids.const_data_ptr<int64_t>();
    const int32_t* distinct_of = found.of_position();
    for (int64_t position = 0, end = n_ids(); position < end; ++position) id_of[distinct_of[position]] = id_at[position];
    n_threads = threads_for(ids.size(0) * weight_hh.numel(), 1 << 20);
    panels = floats({cpu::panels_size(dim(), size())});
    scratch = floats({n_threads * cpu::block_size(dim(), size())});
  }

  int64_t dim() const { return table.size(1); }
  int64_t size() const { return weight_hh.size(1); }
  int64_t n_ids() const { return ids.size(0); }
  Tensor floats(std::initializer_list<int64_t> sizes) const { return torch::stable::new_empty(table, sizes); }
  Tensor indices(int64_t size) const { return torch::stable::new_empty(ids, {size}); }

  template <typename T>
  cpu::GruInputs<T> inputs() const {
    return {table.const_data_ptr<T>(),
            distinct.const_data_ptr<int64_t>(),
            found.of_position(),
            sizes.const_data_ptr<int64_t>(),
            weight_ih.const_data_ptr<T>(),
            weight_hh.const_data_ptr<T>(),
            table.size(0),
            found.n_distinct,
            n_ids(),
            sizes.size(0),
            n_sequences,
            dim(),
            size(),
            panels.mutable_data_ptr<T>(),
            scratch.mutable_data_ptr<T>(),
            n_threads};
  }
};

std::tuple<Tensor, Tensor, Tensor> gru_states(Tensor table, Tensor ids, Tensor sizes, int64_t n_sequences,
                                              Tensor weight_ih, Tensor weight_hh, Tensor bias_ih, Tensor bias_hh,
                                              bool save) {
  const Sequences sequences(table, ids, sizes, n_sequences, weight_ih, weight_hh);
  const int64_t size = sequences.size(), n_saved = save ? sequences.n_ids() : 0, width = cpu::padded_size(size);
  check_float(bias_ih, "bias_ih", "[3H]", {3 * size}, table);
  check_float(bias_hh, "bias_hh", "[3H]", {3 * size}, table);
  const Tensor states = sequences.floats({n_sequences, size});
  const Tensor gates = sequences.floats({n_saved, 4, width}), after = sequences.floats({n_saved, width});
  const Tensor biases = sequences.floats({4 * width});
  const Tensor inputs = sequences.floats({sequences.found.n_distinct, 3 * width});
  with_element_type(table, "table", [&](auto zero) {
    using T = decltype(zero);
    const cpu::GruForwardArgs<T> args = {
        sequences.inputs<T>(), bias_ih.const_data_ptr<T>(), bias_hh.const_data_ptr<T>(),
        states.mutable_data_ptr<T>(), save ? gates.mutable_data_ptr<T>() : nullptr,
        save ? after.mutable_data_ptr<T>() : nullptr, biases.mutable_data_ptr<T>(), inputs.mutable_data_ptr<T>()};
    if constexpr (sizeof(T) == sizeof(float)) cpu::gru_forward_float(args);
    else cpu::gru_forward_double(args);
  });
  return {states, gates, after};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gru_states_backward(Tensor grad, Tensor gates, Tensor after,
                                                                       Tensor table, Tensor ids, Tensor sizes,
                                                                       Tensor weight_ih, Tensor weight_hh) {
  check_shape(grad, "grad", "[B, H]", {-1, -1});
  const Sequences sequences(table, ids, sizes, grad.size(0), weight_ih, weight_hh);
  const int64_t dim = sequences.dim(), size = sequences.size(), n_ids = sequences.n_ids();
  const int64_t width = cpu::padded_size(size);
  check_float(grad, "grad", "[B, H]", {grad.size(0), size}, table);
  check_float(gates, "gates", "[P, 4, H rounded up to 16]", {n_ids, 4, width}, table);
  check_float(after, "after", "[P, H rounded up to 16]", {n_ids, width}, table);
  const Tensor grad_table = sequences.floats({table.size(0), dim});
  const Tensor grad_weight_ih = sequences.floats({3 * size, dim}), grad_weight_hh = sequences.floats({3 * size, size});
  const Tensor grad_bias_ih = sequences.floats({3 * size}), grad_bias_hh = sequences.floats({3 * size});
  const Tensor changes = sequences.floats({n_ids * 3 * width});
  const Tensor shares = sequences.floats({cpu::shares_size(dim, size)});
  const Tensor start = sequences.indices(sequences.found.n_distinct + 2), order = sequences.indices(n_ids);
  with_element_type(table, "table", [&](auto zero) {
    using T = decltype(zero);
    const cpu::GruBackwardArgs<T> args = {
        sequences.inputs<T>(), grad.const_data_ptr<T>(), gates.const_data_ptr<T>(), after.const_data_ptr<T>(),
        grad_table.mutable_data_ptr<T>(), grad_weight_ih.mutable_data_ptr<T>(), grad_weight_hh.mutable_data_ptr<T>(),
        grad_bias_ih.mutable_data_ptr<T>(), grad_bias_hh.mutable_data_ptr<T>(), changes.mutable_data_ptr<T>(),
        shares.mutable_data_ptr<T>(), start.mutable_data_ptr<int64_t>(), order.mutable_data_ptr<int64_t>()};
    if constexpr (sizeof(T) == sizeof(float)) cpu::gru_backward_float(args);
    else cpu::gru_backward_double(args);
  });
  return {grad_table, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh};
}

}  // namespace
}  // namespace ans

STABLE_TORCH_LIBRARY_FRAGMENT(ans_fast, m) {
  m.def(
      "gru_states(Tensor table, Tensor ids, Tensor sizes, int n_sequences, Tensor weight_ih, Tensor weight_hh, "
      "Tensor bias_ih, Tensor bias_hh, bool save) -> (Tensor, Tensor, Tensor)");
  m.def(
      "gru_states_backward(Tensor grad, Tensor gates, Tensor after, Tensor table, Tensor ids, Tensor sizes, "
      "Tensor weight_ih, Tensor weight_hh) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  m.impl("gru_states", TORCH_BOX(&ans::gru_states));
  m.impl("gru_states_backward", TORCH_BOX(&ans::gru_states_backward));
}
