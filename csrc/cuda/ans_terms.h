// The four terms of augmented negative sampling over a batch on the GPU, forward and backward.
#pragma once

#include "common/args.h"
#include "common/kernel.h"
#include "cuda/platform.h"

namespace ans::cuda {

// Tables start at 16 bytes; T is float, __nv_bfloat16 or __half.
template <typename T>
using AnsTermsArgs = AnsInputs<T, float, Seed>;

template <typename T>
struct AnsForwardArgs : AnsTermsArgs<T> {
  float* terms;       // [4]: bpr, sns, distance, orthogonality
  int64_t* selected;  // [B, H]
  float* saved;       // [B, H, 3, M]: contrast, distance and orthogonality of each negative
  float4* hop_terms;  // [B, H], scratch
};

template <typename T>
struct AnsBackwardArgs : AnsTermsArgs<T> {
  const float* grad_terms;  // [4]
  const int64_t* selected;
  const float* saved;
  // Written whole.
  float *grad_user_gate, *grad_margin_weight, *grad_margin_bias;
  // Zeros on entry.
  float *grad_user_hops, *grad_item_hops, *grad_item_gate;
  // Scratch.
  float4* hop_sums;  // [B, H]
  float* margins;    // [ans_backward_units(B · H), D + 1]
  // The deterministic path adds up shared rows in a fixed order; null pointers choose atomics.
  float4* hop_weights;              // [B, H]
  float *pair_user, *pair_item;     // [B, H, D]: what pairs give their user's and their positive's rows
  const int64_t *users_sorted, *users_order;  // [B]: ids ascending, and where each stood
  const int64_t *pos_sorted, *pos_order;      // [B]
  const int64_t *neg_sorted, *neg_order;      // [B · M]
};

int64_t ans_backward_units(int64_t n_tasks, int64_t dim);

template <typename T>
void ans_terms_forward(const AnsForwardArgs<T>& args, cudaStream_t stream);
template <typename T>
void ans_terms_backward(const AnsBackwardArgs<T>& args, cudaStream_t stream);

}  // namespace ans::cuda
