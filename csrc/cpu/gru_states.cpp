// A block of sequences, small enough for a thread's own cache, goes through all steps one after another: products with
// the weight, then the gates made of them while they are there. What the backward pass reads is written once, row by row.
// A block is one thread's and sums over blocks have a fixed order: the same bits at any number of threads.
//
// With gates r, z and n, h the state before a row, and i and s the gates' shares of input and state:
// r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r s_n), and n + z (h − n) after it (torch.nn.GRU's formulas).
#include "cpu/gru_states.h"

#include "cpu/groups.h"
#include "cpu/multiply.h"
#include "cpu/threads.h"

namespace ans::cpu {
namespace {

constexpr int64_t kAhead = 3;  // rows between the one copied and the one whose inputs are fetched

template <typename T>
constexpr int64_t kLanes = Pack<T>::size;

// Rows of H values are kept as whole registers; the lanes beyond H hold zeros, or what zeros lead to.
template <typename T>
inline int64_t width_of(const GruInputs<T>& a) {
  return (a.size + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

template <typename T>
inline void copy(T* to, const T* from, int64_t size) {
  memcpy(to, from, sizeof(T) * static_cast<size_t>(size));
}

template <typename T>
ANS_PACKED Pack<T> tanh(Pack<T> x) {
  return Pack<T>(T(2)) * sigmoid(Pack<T>(T(2)) * x) - Pack<T>(T(1));
}

inline int64_t count_blocks(int64_t n_sequences) { return (n_sequences + kBlock - 1) / kBlock; }

// How many of a block's sequences have a row at `step`.
template <typename T>
inline int64_t count_at(const GruInputs<T>& a, int64_t block, int64_t step) {
  const int64_t left = step < a.n_steps ? a.sizes[step] - block * kBlock : 0;
  return left < 0 ? 0 : left < kBlock ? left : kBlock;
}

// --- Forward ---------------------------------------------------------------------------------------------------------

// Panel p of the weight's transpose, [H, kLanes].
template <typename T>
inline void pack_transpose(const GruInputs<T>& a, int64_t p) {
  const int64_t width = width_of(a), gate = p * kLanes<T> / width, first = p * kLanes<T> % width;
  for (int64_t k = 0; k < a.size; ++k)
    for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
      const int64_t d = first + lane;
      a.panels[(p * a.size + k) * kLanes<T> + lane] = d < a.size ? a.weight[(gate * a.size + d) * a.size + k] : T{0};
    }
}

// gates: i_r + s_r, i_z + s_z, s_n and i_n, of which r, z and n are made. Two loops, of chains short enough to overlap.
template <typename T>
inline void forward_row(T* gates, int64_t width, T* state, T* saved_gates, T* saved_state) {
  using V = Pack<T>;
  for (int64_t d = 0; d < 2 * width; d += kLanes<T>) {
    const V gate = sigmoid(load<V>(gates + d));
    store(gates + d, gate);
    if (saved_gates) store(saved_gates + d, gate);
  }
  for (int64_t d = 0; d < width; d += kLanes<T>) {
    const V r = load<V>(gates + d), z = load<V>(gates + width + d), share = load<V>(gates + 2 * width + d);
    const V n = tanh(load<V>(gates + 3 * width + d) + r * share), after = n + z * (load<V>(state + d) - n);
    store(state + d, after);
    if (saved_gates == nullptr) continue;
    store(saved_gates + 2 * width + d, share);
    store(saved_gates + 3 * width + d, n);
    store(saved_state + d, after);
  }
}

template <typename T>
void forward_block(const GruForwardArgs<T>& a, int64_t block, T* scratch) {
  const int64_t size = a.size, width = width_of(a), first = block * kBlock;
  T *state = scratch, *gates = state + kBlock * width;
  memset(scratch, 0, sizeof(T) * static_cast<size_t>(kBlock * 5 * width));
  for (int64_t step = 0, row = first, n; (n = count_at(a, block, step)) > 0; row += a.sizes[step++]) {
    for (int64_t i = 0; i < n; ++i) {
      prefetch_row(a.inputs + a.rows[row + (i + kAhead < n ? i + kAhead : i)] * 3 * size, 3 * size);
      const T* input = a.inputs + a.rows[row + i] * 3 * size;
      T* gate = gates + i * 4 * width;
      copy(gate, input, size);
      copy(gate + width, input + size, size);
      copy(gate + 2 * width, a.bias, size);
      copy(gate + 3 * width, input + 2 * size, size);
    }
    if (step > 0)
      multiply<T>(n, 3 * width / kLanes<T>, size, {state, width, 1}, {a.panels, kLanes<T>, size * kLanes<T>}, gates,
                  4 * width);
    for (int64_t i = 0; i < n; ++i)
      forward_row(gates + i * 4 * width, width, state + i * width,
                  a.gates ? a.gates + (row + i) * 4 * width : nullptr, a.gates ? a.after + (row + i) * width : nullptr);
  }
  for (int64_t i = 0; i < kBlock && first + i < a.n_sequences; ++i)
    copy(a.states + (first + i) * size, state + i * width, size);
}

template <typename T>
void forward(const GruForwardArgs<T>& a) {
  const int64_t n_panels = 3 * width_of(a) / kLanes<T>, n_blocks = count_blocks(a.n_sequences);
  if (a.gates) {  // what narrower registers than the widest leave over
    const int64_t width = width_of(a), rest = a.n_rows * (padded_size(a.size) - width);
    memset(a.gates + a.n_rows * 4 * width, 0, sizeof(T) * static_cast<size_t>(4 * rest));
    memset(a.after + a.n_rows * width, 0, sizeof(T) * static_cast<size_t>(rest));
  }
#pragma omp parallel num_threads(a.n_threads)
  {
#pragma omp for schedule(static)
    for (int64_t p = 0; p < n_panels; ++p) pack_transpose(a, p);
#pragma omp for schedule(dynamic, 1)
    for (int64_t block = 0; block < n_blocks; ++block)
      forward_block(a, block, a.thread_scratch + omp_get_thread_num() * block_size(a.size));
  }
}

// --- Backward --------------------------------------------------------------------------------------------------------

// Panel p of the weight, [3 width, kLanes].
template <typename T>
inline void pack(const GruInputs<T>& a, int64_t p) {
  const int64_t width = width_of(a);
  for (int64_t k = 0; k < 3 * width; ++k)
    for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
      const int64_t gate = k / width, d = k % width, column = p * kLanes<T> + lane;
      a.panels[(p * 3 * width + k) * kLanes<T> + lane] =
          d < a.size && column < a.size ? a.weight[(gate * a.size + d) * a.size + column] : T{0};
    }
}

// change: the gradients of s_r, s_z and s_n; change_inputs: those of i_r, i_z and i_n. before: null for zeros. `grad`, of
// the state after the row, becomes what its way around the gates leaves of it.
template <typename T>
inline void backward_row(const T* gates, const T* before, int64_t width, T* grad, T* change, T* change_inputs,
                         T* grad_bias) {
  using V = Pack<T>;
  const V one(T(1));
  for (int64_t d = 0; d < width; d += kLanes<T>) {
    const V g = load<V>(grad + d), r = load<V>(gates + d), z = load<V>(gates + width + d);
    const V share = load<V>(gates + 2 * width + d), n = load<V>(gates + 3 * width + d);
    const V h = before ? load<V>(before + d) : V(T(0)), kept = g * z;
    const V change_n = (g - kept) * (one - n * n), of_share = change_n * r;
    const V change_r = of_share * share * (one - r), change_z = kept * (h - n) * (one - z);
    store(grad + d, kept);
    store(change + d, change_r);
    store(change + width + d, change_z);
    store(change + 2 * width + d, of_share);
    store(change_inputs + d, change_r);
    store(change_inputs + width + d, change_z);
    store(change_inputs + 2 * width + d, change_n);
    add_to(grad_bias + d, of_share);
  }
}

template <typename T>
void backward_block(const GruBackwardArgs<T>& a, int64_t block, T* scratch, T* grad_weight, T* grad_bias) {
  const int64_t size = a.size, width = width_of(a), first = block * kBlock;
  T *grad = scratch, *change = grad + kBlock * width;
  int64_t step = 0, row = first;
  for (; count_at(a, block, step) > 0; ++step) row += a.sizes[step];
  for (int64_t i = 0, n = count_at(a, block, 0); i < n; ++i) {
    copy(grad + i * width, a.grad + (first + i) * size, size);
    for (int64_t d = size; d < width; ++d) grad[i * width + d] = T{0};
  }
  while (step-- > 0) {
    const int64_t n = count_at(a, block, step);
    row -= a.sizes[step];
    const T* before = step > 0 ? a.after + (row - a.sizes[step - 1]) * width : nullptr;
    for (int64_t i = 0; i < n; ++i)
      backward_row(a.gates + (row + i) * 4 * width, before ? before + i * width : nullptr, width, grad + i * width,
                   change + i * 3 * width, a.changes + (row + i) * 3 * width, grad_bias);
    if (step == 0) break;
    multiply<T>(n, width / kLanes<T>, 3 * width, {change, 3 * width, 1}, {a.panels, kLanes<T>, 3 * width * kLanes<T>},
                grad, width);
    multiply<T>(3 * width, width / kLanes<T>, n, {change, 1, 3 * width}, {before, width, kLanes<T>}, grad_weight,
                width);
  }
}

// to[H] = the sum of n rows, `row` apart, in order.
template <typename T>
inline void sum_rows(const T* rows, int64_t n, int64_t row, int64_t size, T* to) {
  memset(to, 0, sizeof(T) * static_cast<size_t>(size));
  for (int64_t i = 0; i < n; ++i)
    for_columns<T>(size, [&](auto kind, int64_t d) {
      add_to(to + d, load<decltype(kind)>(rows + i * row + d));
    });
}

template <typename T>
void backward(const GruBackwardArgs<T>& a) {
  const int64_t size = a.size, width = width_of(a), n_blocks = count_blocks(a.n_sequences);
  const int64_t n_shares = n_blocks < kShares ? n_blocks : kShares, share_size = (3 * width + 1) * width;
#pragma omp parallel num_threads(a.n_threads)
  {
#pragma omp for schedule(static)
    for (int64_t p = 0; p < width / kLanes<T>; ++p) pack(a, p);
#pragma omp for schedule(dynamic, 1)
    for (int64_t share = 0; share < n_shares; ++share) {
      T *sums = a.shares + share * share_size, *scratch = a.thread_scratch + omp_get_thread_num() * block_size(size);
      memset(sums, 0, sizeof(T) * static_cast<size_t>(share_size));
      for (int64_t block = share; block < n_blocks; block += n_shares)
        backward_block(a, block, scratch, sums, sums + 3 * width * width);
    }
#pragma omp for schedule(static)
    for (int64_t k = 0; k < 3 * size; ++k)
      sum_rows(a.shares + (k / size * width + k % size) * width, n_shares, share_size, size, a.grad_weight + k * size);
  }
  sum_rows(a.shares + 3 * width * width, n_shares, share_size, size, a.grad_bias);
  group_by(a.start, a.order, a.n_inputs, [&](auto member) {
    for (int64_t row = 0; row < a.n_rows; ++row) member(row, a.rows[row]);
  });
  for_each_group(a.start, a.n_inputs, a.n_threads, [&](int64_t input) {
    T* to = a.grad_inputs + input * 3 * size;
    memset(to, 0, sizeof(T) * static_cast<size_t>(3 * size));
    for (int64_t at = a.start[input]; at < a.start[input + 1]; ++at) {
      const T* change = a.changes + a.order[at] * 3 * width;
      prefetch_row(a.changes + a.order[at + kAhead < a.n_rows ? at + kAhead : at] * 3 * width, 3 * width);
      for (int64_t gate = 0; gate < 3; ++gate)
        for_columns<T>(size, [&](auto kind, int64_t d) {
          add_to(to + gate * size + d, load<decltype(kind)>(change + gate * width + d));
        });
    }
  });
}

}  // namespace

void ANS_ENTRY(gru_forward_float)(const GruForwardFloatArgs& args) { forward(args); }
void ANS_ENTRY(gru_forward_double)(const GruForwardDoubleArgs& args) { forward(args); }
void ANS_ENTRY(gru_backward_float)(const GruBackwardFloatArgs& args) { backward(args); }
void ANS_ENTRY(gru_backward_double)(const GruBackwardDoubleArgs& args) { backward(args); }

}  // namespace ans::cpu
