// A block of sequences, small enough for a thread's own cache, goes through all steps one after another: products with
// the weight, then the gates made of them while they are there. What the backward pass reads is written once, id by id.
// Products with vectors are made once for each distinct id, by blocks as well. A block is one thread's and sums over
// blocks have a fixed order: the same bits at any number of threads.
//
// With gates r, z and n, h the state before an id, and i and s the gates' shares of its vector and of h:
// r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r s_n), and n + z (h − n) after it (torch.nn.GRU's formulas).
#include "ops/gru_states.h"

#include "cpu/groups.h"
#include "cpu/multiply.h"
#include "cpu/threads.h"

namespace ans::cpu {
namespace {

constexpr int64_t kBlock = 48;   // sequences that go through all steps together: 24 to 144 are as fast
constexpr int64_t kShares = 16;  // of the work, in which gradients of weights are summed by any number of threads
constexpr int64_t kAhead = 3;  // rows between the one at work and the one that is fetched

template <typename T>
constexpr int64_t kLanes = Pack<T>::size;

// Scratch has rows in whole registers; lanes beyond a row's size hold zeros, or what zeros lead to.
template <typename T>
constexpr int64_t width_of(int64_t size) {
  return (size + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

constexpr int64_t panels_size(int64_t dim, int64_t size) {
  return 3 * padded_size(size) * (padded_size(dim) + padded_size(size));
}

constexpr int64_t block_size(int64_t dim, int64_t size) {
  return kBlock * (2 * padded_size(dim) + 4 * padded_size(size));
}

constexpr int64_t shares_size(int64_t dim, int64_t size) {
  return kShares * (panels_size(dim, size) + 4 * padded_size(size));
}

// What both directions work with: ids of which U are distinct, and scratch.
template <typename T>
struct Work {
  int64_t* distinct;     // [U], in the order in which they occur
  int32_t* distinct_of;  // [P]: which of the distinct ids each is
  int64_t n_distinct;
  T* panels;          // panels_size
  T* thread_scratch;  // n_threads × block_size
  int n_threads;
};

template <typename T>
struct Forward : GruForwardArgs<T>, Work<T> {
  T* biases;  // [4 padded_size(H)]
  T* inputs;  // [U, 3 padded_size(H)]: the gates' shares of each id's vector
};

template <typename T>
struct Backward : GruBackwardArgs<T>, Work<T> {
  T* changes;      // [P, 3 padded_size(H)]: the gradient of each id's share of the gates
  T* shares;       // shares_size
  int64_t* start;  // [U + 2], and positions by distinct id:
  int64_t* order;  // [P]
};

template <typename T>
Work<T> make_work(const GruInputs<T>& a, const Threads& threads) {
  const Memory& memory = threads.memory;
  const int n_threads = threads_for(threads, a.n_ids * 3 * a.size * a.size, 1 << 20);
  Work<T> work = {take<int64_t>(memory, a.n_ids < a.n_table ? a.n_ids : a.n_table),
                  take<int32_t>(memory, a.n_ids),
                  0,
                  take<T>(memory, panels_size(a.dim, a.size)),
                  take<T>(memory, n_threads * block_size(a.dim, a.size)),
                  n_threads};
  int32_t* place = take<int32_t>(memory, a.n_table);
  for (int64_t id = 0; id < a.n_table; ++id) place[id] = -1;
  for (int64_t at = 0; at < a.n_ids; ++at) {
    const int64_t id = a.ids[at];
    if (place[id] < 0) {
      place[id] = static_cast<int32_t>(work.n_distinct);
      work.distinct[work.n_distinct++] = id;
    }
    work.distinct_of[at] = place[id];
  }
  return work;
}

template <typename T>
inline void copy(T* to, const T* from, int64_t size) {
  memcpy(to, from, sizeof(T) * static_cast<size_t>(size));
}

// from[size] -> to[width]
template <typename T>
inline void copy_padded(T* to, const T* from, int64_t size, int64_t width) {
  copy(to, from, size);
  for (int64_t d = size; d < width; ++d) to[d] = T{0};
}

template <typename T>
ANS_PACKED Pack<T> tanh(Pack<T> x) {
  return Pack<T>(T(2)) * sigmoid(Pack<T>(T(2)) * x) - Pack<T>(T(1));
}

inline int64_t count_blocks(int64_t n) { return (n + kBlock - 1) / kBlock; }

// How many of n a block has.
inline int64_t count_in(int64_t block, int64_t n) {
  const int64_t left = n - block * kBlock;
  return left < 0 ? 0 : left < kBlock ? left : kBlock;
}

// How many of a block's sequences have an id at `step`.
template <typename T>
inline int64_t count_at(const GruInputs<T>& a, int64_t block, int64_t step) {
  return step < a.n_steps ? count_in(block, a.sizes[step]) : 0;
}

// The weight [3H, columns] as one of [3 width, columns]: zeros in the lanes beyond H.
template <typename T>
inline T padded_at(const T* weight, int64_t size, int64_t columns, int64_t width, int64_t row, int64_t column) {
  const int64_t gate = (row >= width) + (row >= 2 * width), d = row - gate * width;
  return d < size && column < columns ? weight[(gate * size + d) * columns + column] : T{0};
}

// Panel p of the transpose of such a weight, and of the weight itself.
template <typename T>
inline void pack_transpose(const T* weight, int64_t size, int64_t columns, T* panels, int64_t p) {
  for (int64_t k = 0; k < columns; ++k)
    for (int64_t lane = 0; lane < kLanes<T>; ++lane)
      panels[(p * columns + k) * kLanes<T> + lane] =
          padded_at(weight, size, columns, width_of<T>(size), p * kLanes<T> + lane, k);
}

template <typename T>
inline void pack(const T* weight, int64_t size, int64_t columns, T* panels, int64_t p) {
  const int64_t width = width_of<T>(size);
  for (int64_t k = 0; k < 3 * width; ++k)
    for (int64_t lane = 0; lane < kLanes<T>; ++lane)
      panels[(p * 3 * width + k) * kLanes<T> + lane] =
          padded_at(weight, size, columns, width, k, p * kLanes<T> + lane);
}

// Where weight_hh's panels begin, beside weight_ih's.
template <typename Pass, typename T = typename Pass::Value>
inline T* panels_hh(const Pass& a) {
  return a.panels + 3 * width_of<T>(a.size) * width_of<T>(a.dim);
}

template <typename Pass, typename T = typename Pass::Value>
inline const T* vector_of(const Pass& a, int64_t distinct) {
  return a.table + a.distinct[distinct] * a.dim;
}

template <typename Pass, typename T = typename Pass::Value>
inline T* scratch_of_thread(const Pass& a) {
  return a.thread_scratch + omp_get_thread_num() * block_size(a.dim, a.size);
}

// --- Forward ---------------------------------------------------------------------------------------------------------

// r's and z's biases together, n's of the vector, and n's of the state.
template <typename T>
inline void fill_biases(const Forward<T>& a) {
  const int64_t size = a.size, width = width_of<T>(size);
  for (int64_t gate = 0; gate < 3; ++gate) copy_padded(a.biases + gate * width, a.bias_ih + gate * size, size, width);
  for (int64_t gate = 0; gate < 2; ++gate) add(a.biases + gate * width, a.bias_hh + gate * size, size);
  copy_padded(a.biases + 3 * width, a.bias_hh + 2 * size, size, width);
}

template <typename T>
void forward_inputs(const Forward<T>& a, int64_t block, T* vectors) {
  const int64_t dim = a.dim, row = 3 * width_of<T>(a.size), first = block * kBlock, n = count_in(block, a.n_distinct);
  T* inputs = a.inputs + first * row;
  for (int64_t i = 0; i < n; ++i) {
    copy(vectors + i * dim, vector_of(a, first + i), dim);
    copy(inputs + i * row, a.biases, row);
  }
  multiply<Old::added, T>(n, row / kLanes<T>, dim, {vectors, dim, 1}, {a.panels, kLanes<T>, dim * kLanes<T>}, inputs,
                          row);
}

// shares: s_r, s_z and s_n without its bias; r and z take their place. Two loops, of chains short enough to overlap.
template <typename T>
inline void forward_row(const T* input, const T* bias, int64_t width, T* shares, T* state, T* gates, T* after) {
  using V = Pack<T>;
  for (int64_t d = 0; d < 2 * width; d += kLanes<T>) {
    const V gate = sigmoid(load<V>(input + d) + load<V>(shares + d));
    store(shares + d, gate);
    if (gates) store(gates + d, gate);
  }
  for (int64_t d = 0; d < width; d += kLanes<T>) {
    const V r = load<V>(shares + d), z = load<V>(shares + width + d);
    const V share = load<V>(shares + 2 * width + d) + load<V>(bias + d);
    const V n = tanh(load<V>(input + 2 * width + d) + r * share), next = n + z * (load<V>(state + d) - n);
    store(state + d, next);
    if (gates == nullptr) continue;
    store(gates + 2 * width + d, share);
    store(gates + 3 * width + d, n);
    store(after + d, next);
  }
}

template <typename T>
void forward_block(const Forward<T>& a, int64_t block, T* scratch) {
  const int64_t size = a.size, width = width_of<T>(size), first = block * kBlock;
  T *state = scratch, *shares = state + kBlock * width;
  clear(state, kBlock * width);
  clear(shares, kBlock * 3 * width);
  for (int64_t step = 0, id = first, n; (n = count_at(a, block, step)) > 0; id += a.sizes[step++]) {
    const auto input_of = [&](int64_t i) { return a.inputs + a.distinct_of[id + i] * 3 * width; };
    if (step > 0)
      multiply<Old::replaced, T>(n, 3 * width / kLanes<T>, size, {state, width, 1},
                                 {panels_hh(a), kLanes<T>, size * kLanes<T>}, shares, 3 * width);
    for (int64_t i = 0; i < n; ++i) {
      prefetch_row(input_of(i + kAhead < n ? i + kAhead : i), 3 * width);
      forward_row(input_of(i), a.biases + 3 * width, width, shares + i * 3 * width, state + i * width,
                  a.gates ? a.gates + (id + i) * 4 * width : nullptr, a.gates ? a.after + (id + i) * width : nullptr);
    }
  }
  for (int64_t i = 0; i < count_in(block, a.n_sequences); ++i)
    copy(a.states + (first + i) * size, state + i * width, size);
}

template <typename T>
void forward(const GruForwardArgs<T>& args, const Threads& threads) {
  const Work<T> work = make_work(args, threads);
  const Forward<T> a = {args, work, take<T>(threads.memory, 4 * padded_size(args.size)),
                        take<T>(threads.memory, work.n_distinct * 3 * padded_size(args.size))};
  const int64_t width = width_of<T>(a.size);
  if (a.gates) {  // what narrower registers than the widest leave over
    const int64_t rest = a.n_ids * (padded_size(a.size) - width);
    clear(a.gates + a.n_ids * 4 * width, 4 * rest);
    clear(a.after + a.n_ids * width, rest);
  }
  fill_biases(a);
#pragma omp parallel num_threads(a.n_threads)
  {
#pragma omp for schedule(static)
    for (int64_t p = 0; p < 3 * width / kLanes<T>; ++p) {
      pack_transpose(a.weight_ih, a.size, a.dim, a.panels, p);
      pack_transpose(a.weight_hh, a.size, a.size, panels_hh(a), p);
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t block = 0; block < count_blocks(a.n_distinct); ++block)
      forward_inputs(a, block, scratch_of_thread(a));
#pragma omp for schedule(dynamic, 1)
    for (int64_t block = 0; block < count_blocks(a.n_sequences); ++block) forward_block(a, block, scratch_of_thread(a));
  }
}

// --- Backward --------------------------------------------------------------------------------------------------------

// Sums over blocks: gradients of weights [3 width, …] and of biases [4 width], in the order of Forward::biases.
template <typename T>
struct Sums {
  T *weight_ih, *weight_hh, *biases;
};

template <typename T>
constexpr int64_t sums_size(const GruInputs<T>& a) {
  return width_of<T>(a.size) * (3 * width_of<T>(a.dim) + 3 * width_of<T>(a.size) + 4);
}

template <typename T>
inline Sums<T> sums_of(const Backward<T>& a, int64_t share) {
  const int64_t width = width_of<T>(a.size);
  T *of_ih = a.shares + share * sums_size(a), *of_hh = of_ih + 3 * width * width_of<T>(a.dim);
  return {of_ih, of_hh, of_hh + 3 * width * width};
}

// change: gradients of s_r, s_z and s_n; change_input: those of i_r, i_z and i_n. before: null for zeros. `grad`, of the
// state after the id, becomes what its way around the gates leaves of it.
template <typename T>
inline void backward_row(const T* gates, const T* before, int64_t width, T* grad, T* change, T* change_input,
                         T* biases) {
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
    store(change_input + d, change_r);
    store(change_input + width + d, change_z);
    store(change_input + 2 * width + d, change_n);
    add_to(biases + d, of_share);
  }
}

template <typename T>
void backward_block(const Backward<T>& a, int64_t block, T* scratch, const Sums<T>& sums) {
  const int64_t size = a.size, width = width_of<T>(size), first = block * kBlock, panels = width / kLanes<T>;
  T *grad = scratch, *change = grad + kBlock * width;
  int64_t step = 0, id = first;
  for (; count_at(a, block, step) > 0; ++step) id += a.sizes[step];
  for (int64_t i = 0; i < count_at(a, block, 0); ++i)
    copy_padded(grad + i * width, a.grad + (first + i) * size, size, width);
  while (step-- > 0) {
    const int64_t n = count_at(a, block, step);
    id -= a.sizes[step];
    const T* before = step > 0 ? a.after + (id - a.sizes[step - 1]) * width : nullptr;
    for (int64_t i = 0; i < n; ++i)
      backward_row(a.gates + (id + i) * 4 * width, before ? before + i * width : nullptr, width, grad + i * width,
                   change + i * 3 * width, a.changes + (id + i) * 3 * width, sums.biases + 3 * width);
    if (step == 0) break;
    multiply<Old::added, T>(n, panels, 3 * width, {change, 3 * width, 1},
                            {panels_hh(a), kLanes<T>, 3 * width * kLanes<T>}, grad, width);
    multiply<Old::added, T>(3 * width, panels, n, {change, 1, 3 * width}, {before, width, kLanes<T>}, sums.weight_hh,
                            width);
  }
}

template <typename T>
void backward_inputs(const Backward<T>& a, int64_t block, T* scratch, const Sums<T>& sums) {
  const int64_t dim = a.dim, row = 3 * width_of<T>(a.size), columns = width_of<T>(dim), panels = columns / kLanes<T>;
  const int64_t first = block * kBlock, n = count_in(block, a.n_distinct);
  T *change = scratch, *vectors = change + kBlock * row, *grad = vectors + kBlock * columns;
  clear(change, n * row);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t at = a.start[first + i]; at < a.start[first + i + 1]; ++at) {
      prefetch_row(a.changes + a.order[at + kAhead < a.n_ids ? at + kAhead : at] * row, row);
      add(change + i * row, a.changes + a.order[at] * row, row);
    }
    add(sums.biases, change + i * row, row);
    copy_padded(vectors + i * columns, vector_of(a, first + i), dim, columns);
  }
  multiply<Old::replaced, T>(n, panels, row, {change, row, 1}, {a.panels, kLanes<T>, row * kLanes<T>}, grad, columns);
  multiply<Old::added, T>(row, panels, n, {change, 1, row}, {vectors, columns, kLanes<T>}, sums.weight_ih, columns);
  for (int64_t i = 0; i < n; ++i) copy(a.grad_table + a.distinct[first + i] * dim, grad + i * columns, dim);
}

// to[size] = the shares' sums, in order; `sum` is the first share's.
template <typename T>
inline void add_shares(const Backward<T>& a, const T* sum, int64_t size, T* to) {
  clear(to, size);
  for (int64_t share = 0; share < kShares; ++share) add(to, sum + share * sums_size(a), size);
}

template <typename T>
void backward(const GruBackwardArgs<T>& args, const Threads& threads) {
  const Work<T> work = make_work(args, threads);
  const Backward<T> a = {args, work, take<T>(threads.memory, args.n_ids * 3 * padded_size(args.size)),
                         take<T>(threads.memory, shares_size(args.dim, args.size)),
                         take<int64_t>(threads.memory, work.n_distinct + 2), take<int64_t>(threads.memory, args.n_ids)};
  const int64_t dim = a.dim, size = a.size, width = width_of<T>(size), columns = width_of<T>(dim);
  group_by(a.start, a.order, a.n_distinct, [&](auto member) {
    for (int64_t id = 0; id < a.n_ids; ++id) member(id, a.distinct_of[id]);
  });
#pragma omp parallel num_threads(a.n_threads)
  {
#pragma omp for schedule(static)
    for (int64_t p = 0; p < columns / kLanes<T>; ++p) pack(a.weight_ih, size, dim, a.panels, p);
#pragma omp for schedule(static)
    for (int64_t p = 0; p < width / kLanes<T>; ++p) pack(a.weight_hh, size, size, panels_hh(a), p);
#pragma omp for schedule(static)
    for (int64_t id = 0; id < a.n_table; ++id) clear(a.grad_table + id * dim, dim);
#pragma omp for schedule(dynamic, 1)
    for (int64_t share = 0; share < kShares; ++share) {
      const Sums<T> sums = sums_of(a, share);
      clear(sums.weight_ih, sums_size(a));
      for (int64_t block = share; block < count_blocks(a.n_sequences); block += kShares)
        backward_block(a, block, scratch_of_thread(a), sums);
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t share = 0; share < kShares; ++share)
      for (int64_t block = share; block < count_blocks(a.n_distinct); block += kShares)
        backward_inputs(a, block, scratch_of_thread(a), sums_of(a, share));
    const Sums<T> sums = sums_of(a, 0);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < 3 * size; ++row) {
      const int64_t padded_row = row / size * width + row % size;
      add_shares(a, sums.weight_ih + padded_row * columns, dim, a.grad_weight_ih + row * dim);
      add_shares(a, sums.weight_hh + padded_row * width, size, a.grad_weight_hh + row * size);
    }
#pragma omp single
    for (int64_t gate = 0; gate < 3; ++gate) {
      add_shares(a, sums.biases + gate * width, size, a.grad_bias_ih + gate * size);
      add_shares(a, sums.biases + (gate < 2 ? gate : 3) * width, size, a.grad_bias_hh + gate * size);
    }
  }
}

}  // namespace

ANS_DEFINE_FLOAT_KERNEL(gru_forward, GruForwardArgs, forward)
ANS_DEFINE_FLOAT_KERNEL(gru_backward, GruBackwardArgs, backward)

}  // namespace ans::cpu
