// Of each pair's candidates the hardest, hop by hop, for float and double.
#pragma once

#include "cpu/simd.h"

namespace ans::cpu {

// B pairs, K negatives to choose for each of them, M candidates for each negative, H hops, D values a row.
template <typename T>
struct HardestNegativesArgs {
  const T* user_rows;  // [B, H, D]
  const T* item_hops;  // [n_items, H, D]
  const T* item_gate;  // [n_items, H, D], or null: no gates
  const T* pos_gate;   // [B, H, D], where there is an item_gate
  T rest;
  const int64_t* candidates;  // [B, K, M], in [0, n_items)
  int64_t n_pairs, n_chosen, n_candidates, n_hops, dim;
  int64_t* chosen;  // [B, K, H]
  int n_threads;
};

using HardestFloatArgs = HardestNegativesArgs<float>;
using HardestDoubleArgs = HardestNegativesArgs<double>;
ANS_KERNEL(void, hardest_negatives_float, HardestFloatArgs)
ANS_KERNEL(void, hardest_negatives_double, HardestDoubleArgs)

}  // namespace ans::cpu
