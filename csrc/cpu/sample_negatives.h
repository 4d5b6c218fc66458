// Uniform draws of items that a user has not clicked, and the noise that ANS adds to negatives.
#pragma once

#include "common/args.h"
#include "cpu/simd.h"

namespace ans::cpu {

struct SampleNegativesArgs : SampleInputs<uint64_t> {
  int n_threads;
};

struct NoiseArgs : NoiseInputs<uint64_t> {
  int n_threads;
};

// The lowest row whose user is no user, has a broken CSR row or has nothing left to draw; n_rows if there is none.
ANS_KERNEL(int64_t, sample_negatives, SampleNegativesArgs)
ANS_KERNEL(void, ans_noise, NoiseArgs)

}  // namespace ans::cpu
