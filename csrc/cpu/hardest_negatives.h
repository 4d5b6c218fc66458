// Of each pair's candidates the hardest, hop by hop, for float and double.
#pragma once

#include "common/args.h"
#include "cpu/simd.h"

namespace ans::cpu {

// Candidates are in [0, n_items).
template <typename T>
struct HardestNegativesArgs : HardestInputs<T, T> {
  int n_threads;
};

using HardestFloatArgs = HardestNegativesArgs<float>;
using HardestDoubleArgs = HardestNegativesArgs<double>;
ANS_KERNEL(void, hardest_negatives_float, HardestFloatArgs)
ANS_KERNEL(void, hardest_negatives_double, HardestDoubleArgs)

}  // namespace ans::cpu
