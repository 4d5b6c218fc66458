// Uniform draws of items that a user has not clicked, and the noise that ANS adds to negatives, on the GPU.
#pragma once

#include "common/args.h"
#include "cuda/platform.h"

namespace ans::cuda {

using SampleNegativesArgs = SampleInputs<Seed>;  // out: -1 where the user is no user or has clicked everything
using NoiseArgs = NoiseInputs<Seed>;

void sample_negatives(const SampleNegativesArgs& args, cudaStream_t stream);
void ans_noise(const NoiseArgs& args, cudaStream_t stream);

}  // namespace ans::cuda
