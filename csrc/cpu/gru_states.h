// A gated recurrent unit over sequences, of which the long come before the short.
#pragma once

#include "cpu/simd.h"

namespace ans::cpu {

// B sequences of P rows together, and a state of H values. Rows lie by steps: the first row of every sequence, then all
// second ones, and so on.
template <typename T>
struct GruInputs {
  const T* inputs;       // [U, 3H]: the gates' shares of an input, r's before z's before n's
  const int64_t* rows;   // [P], in [0, U)
  const int64_t* sizes;  // [n_steps], P together: how many sequences have a first row, a second one, …; never more
  const T* weight;       // [3H, H], of the state
  int64_t n_inputs, n_rows, n_steps, n_sequences, size;
  T* panels;          // scratch, panels_size
  T* thread_scratch;  // scratch, n_threads × block_size
  int n_threads;
};

// H in whole registers, the widest ones.
constexpr int64_t padded_size(int64_t size) { return (size + 15) / 16 * 16; }

constexpr int64_t panels_size(int64_t size) { return 3 * padded_size(size) * padded_size(size); }

// So many sequences go through all steps together: 24 to 144 are as fast, fewer suit more threads.
constexpr int64_t kBlock = 48;

constexpr int64_t block_size(int64_t size) { return kBlock * 5 * padded_size(size); }

template <typename T>
struct GruForwardArgs : GruInputs<T> {
  const T* bias;  // [H], of the state's share of n
  T* states;      // [B, H]
  T* gates;       // [P, 4 padded_size], or null, not wanted: of each row r, z, the state's share of n, and n
  T* after;       // [P, padded_size], or null as well: the state after each row
};

// The weight's gradient is summed in so many shares of the blocks, by any number of threads.
constexpr int64_t kShares = 16;

constexpr int64_t shares_size(int64_t size) { return kShares * (3 * padded_size(size) + 1) * padded_size(size); }

template <typename T>
struct GruBackwardArgs : GruInputs<T> {
  const T* grad;   // [B, H]
  const T* gates;  // as the forward pass left them
  const T* after;
  T* grad_inputs;  // [U, 3H]
  T* grad_weight;  // [3H, H]
  T* grad_bias;    // [H]
  // Scratch.
  T* changes;      // [P, 3 padded_size]: the gradient of each row's input
  T* shares;       // shares_size
  int64_t* start;  // [U + 2], and the rows by input:
  int64_t* order;  // [P]
};

using GruForwardFloatArgs = GruForwardArgs<float>;
using GruForwardDoubleArgs = GruForwardArgs<double>;
using GruBackwardFloatArgs = GruBackwardArgs<float>;
using GruBackwardDoubleArgs = GruBackwardArgs<double>;
ANS_KERNEL(void, gru_forward_float, GruForwardFloatArgs)
ANS_KERNEL(void, gru_forward_double, GruForwardDoubleArgs)
ANS_KERNEL(void, gru_backward_float, GruBackwardFloatArgs)
ANS_KERNEL(void, gru_backward_double, GruBackwardDoubleArgs)

}  // namespace ans::cpu
