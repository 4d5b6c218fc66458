// A gated recurrent unit over sequences of ids, of which the long come before the short.
#pragma once

#include "cpu/simd.h"

namespace ans::cpu {

// B sequences of P ids together, U of them distinct; an id's vector has D values, a state H. Ids lie by steps: the first
// of every sequence, then all second ones, and so on.
template <typename T>
struct GruInputs {
  const T* table;              // [n, D]
  const int64_t* distinct;     // [U], rows of the table
  const int32_t* distinct_of;  // [P]: which of the distinct ids each is
  const int64_t* sizes;        // [n_steps], P together: how many sequences have a first id, a second one, …; never more
  const T* weight_ih;          // [3H, D], of gates r, z and n
  const T* weight_hh;          // [3H, H]
  int64_t n_table, n_distinct, n_ids, n_steps, n_sequences, dim, size;
  T* panels;          // scratch, panels_size
  T* thread_scratch;  // scratch, n_threads × block_size
  int n_threads;
};

// A row in whole registers, the widest ones.
constexpr int64_t padded_size(int64_t size) { return (size + 15) / 16 * 16; }

constexpr int64_t panels_size(int64_t dim, int64_t size) {
  return 3 * padded_size(size) * (padded_size(dim) + padded_size(size));
}

// So many sequences go through all steps together: 24 to 144 are as fast, fewer suit more threads.
constexpr int64_t kBlock = 48;

constexpr int64_t block_size(int64_t dim, int64_t size) {
  return kBlock * (2 * padded_size(dim) + 4 * padded_size(size));
}

template <typename T>
struct GruForwardArgs : GruInputs<T> {
  const T* bias_ih;  // [3H]
  const T* bias_hh;  // [3H]
  T* states;         // [B, H]
  T* gates;          // [P, 4 padded_size(H)], or null, not wanted: at each id r, z, the state's share of n, and n
  T* after;          // [P, padded_size(H)], or null as well: the state after each id
  // Scratch.
  T* biases;         // [4 padded_size(H)]
  T* inputs;         // [U, 3 padded_size(H)]: the gates' shares of each id's vector
};

// Gradients of weights are summed in so many shares of the work, by any number of threads.
constexpr int64_t kShares = 16;

constexpr int64_t shares_size(int64_t dim, int64_t size) {
  return kShares * (panels_size(dim, size) + 4 * padded_size(size));
}

template <typename T>
struct GruBackwardArgs : GruInputs<T> {
  const T* grad;     // [B, H]
  const T* gates;    // as the forward pass left them
  const T* after;
  T* grad_table;      // [n, D]
  T* grad_weight_ih;  // [3H, D]
  T* grad_weight_hh;  // [3H, H]
  T* grad_bias_ih;    // [3H]
  T* grad_bias_hh;    // [3H]
  // Scratch.
  T* changes;      // [P, 3 padded_size(H)]: the gradient of each id's share of the gates
  T* shares;       // shares_size
  int64_t* start;  // [U + 2], and positions by distinct id:
  int64_t* order;  // [P]
};

using GruForwardFloatArgs = GruForwardArgs<float>;
using GruForwardDoubleArgs = GruForwardArgs<double>;
using GruBackwardFloatArgs = GruBackwardArgs<float>;
using GruBackwardDoubleArgs = GruBackwardArgs<double>;
ANS_FUNCTION(void, gru_forward_float, GruForwardFloatArgs)
ANS_FUNCTION(void, gru_forward_double, GruForwardDoubleArgs)
ANS_FUNCTION(void, gru_backward_float, GruBackwardFloatArgs)
ANS_FUNCTION(void, gru_backward_double, GruBackwardDoubleArgs)

}  // namespace ans::cpu
