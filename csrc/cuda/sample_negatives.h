// Uniform draws of items that a user has not clicked, and the noise that ANS adds to negatives, on the GPU.
#pragma once

#include "cuda/platform.h"

namespace ans::cuda {

struct SampleNegativesArgs {
  const int64_t* indptr;   // [n_users + n_items + 1]
  const int32_t* indices;  // [n_indices], ascending in each row
  int64_t n_indices;
  const int64_t* users;  // [n_rows]
  int64_t n_rows, n_users, n_items, n_negatives, first_item;
  Seed seed;
  int64_t* out;  // [n_rows, n_negatives]; -1 where the user is no user or has clicked everything
};

struct NoiseArgs {
  Seed seed;
  int64_t n_rows, dim;
  float* out;  // [n_rows, dim]
};

void sample_negatives(const SampleNegativesArgs& args, cudaStream_t stream);
void ans_noise(const NoiseArgs& args, cudaStream_t stream);

}  // namespace ans::cuda
