// The four terms of augmented negative sampling over a batch, forward and backward, for float and double.
#pragma once

#include "common/args.h"
#include "cpu/simd.h"

namespace ans::cpu {

template <typename T>
struct AnsTermsArgs : AnsInputs<T, T, uint64_t> {
  T* thread_scratch;  // n_threads × thread_scratch_size
  int n_threads;
};

// The scratch that one thread needs: sums of M rows, a row of noise, and a line so that threads share none.
template <typename T>
int64_t thread_scratch_size(int64_t n_negatives, int64_t n_hops, int64_t dim) {
  return 5 * n_negatives + 3 * n_hops + dim + 64 / static_cast<int64_t>(sizeof(T));
}

template <typename T>
struct AnsTermsForwardArgs : AnsTermsArgs<T> {
  T* terms;           // [4]: bpr, sns, distance, orthogonality
  int64_t* selected;  // [B, H]
  T* saved;           // [B, H, 3, M]: contrast, distance and orthogonality of each negative
  double* pair_terms; // [B, 4], scratch
};

template <typename T>
struct AnsTermsBackwardArgs : AnsTermsArgs<T> {
  const T* grad_terms;  // [4]
  const int64_t* selected;
  const T* saved;
  T *grad_user_hops, *grad_item_hops, *grad_user_gate, *grad_item_gate, *grad_margin_weight, *grad_margin_bias;
  // Scratch.
  T* row_weights;       // [B, M, H, 3]
  T* selected_weights;  // [B, H, 2]
  T* grad_positive;     // [B, H, D]
  T* pair_margin;       // [B, D + 1]: a pair's share of the margin layer's gradients
  int64_t* user_start;  // [n_users + 2], and the pairs by user:
  int64_t* user_order;  // [B]
  int64_t* item_start;  // [n_items + 2], and by item the negatives (b · M + m), then the positives (B · M + b):
  int64_t* item_order;  // [B · M + B]
};

using ForwardFloatArgs = AnsTermsForwardArgs<float>;
using ForwardDoubleArgs = AnsTermsForwardArgs<double>;
using BackwardFloatArgs = AnsTermsBackwardArgs<float>;
using BackwardDoubleArgs = AnsTermsBackwardArgs<double>;
ANS_FUNCTION(void, ans_terms_forward_float, ForwardFloatArgs)
ANS_FUNCTION(void, ans_terms_forward_double, ForwardDoubleArgs)
ANS_FUNCTION(void, ans_terms_backward_float, BackwardFloatArgs)
ANS_FUNCTION(void, ans_terms_backward_double, BackwardDoubleArgs)

}  // namespace ans::cpu
