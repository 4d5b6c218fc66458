// Uniform draws of items that a user has not clicked, and the noise that ANS adds to negatives.
#pragma once

#include "cpu/simd.h"

namespace ans::cpu {

struct SampleNegativesArgs {
  const int64_t* indptr;   // [n_users + n_items + 1]
  const int32_t* indices;  // [n_indices], ascending in each row
  int64_t n_indices;
  const int64_t* users;  // [n_rows]
  int64_t n_rows, n_users, n_items, n_negatives, first_item;
  uint64_t seed;
  int64_t* out;  // [n_rows, n_negatives]
  int n_threads;
};

struct NoiseArgs {
  uint64_t seed;
  int64_t n_rows, dim;
  float* out;  // [n_rows, dim]
  int n_threads;
};

// The lowest row whose user is no user, has a broken CSR row or has nothing left to draw; n_rows if there is none.
ANS_KERNEL(int64_t, sample_negatives, SampleNegativesArgs)
ANS_KERNEL(void, ans_noise, NoiseArgs)

}  // namespace ans::cpu
