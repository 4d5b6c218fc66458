// Of each pair's candidates the hardest, hop by hop, on the GPU.
#pragma once

#include "common/args.h"
#include "cuda/platform.h"

namespace ans::cuda {

// Tables start at 16 bytes; T is float, __nv_bfloat16 or __half. chosen: -1 where a candidate is not in [0, n_items).
template <typename T>
using HardestNegativesArgs = HardestInputs<T, float>;

template <typename T>
void hardest_negatives(const HardestNegativesArgs<T>& args, cudaStream_t stream);

}  // namespace ans::cuda
