// The operators of csrc/ops for CUDA.
#define ANS_HOST
#include "cuda/device.h"
#include "ops/all.h"

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CUDA, m) { ans::ops::implement<ans::cuda::Device>(m); }
