// The noise that augmented negative sampling adds to negatives.
#pragma once

#include "common/kernel.h"

namespace ans {

struct NoiseArgs {
  Seed seed;
  int64_t n_rows, dim;
  float* out;  // [n_rows, dim]
};
ANS_KERNEL(ans_noise, NoiseArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include "ops/call.h"

namespace ans::ops {

constexpr char kAnsNoise[] = "ans_noise(Tensor seed, int n_rows, int dim) -> Tensor";

template <typename Device>
Tensor ans_noise(Tensor seed, int64_t n_rows, int64_t dim) {
  Call<Device> call(seed, "seed");
  check_range("n_rows", n_rows, 0, INT64_MAX);
  check_range("dim", dim, 0, INT32_MAX);
  int64_t size = 0;
  if (__builtin_mul_overflow(n_rows, dim, &size))
    fail("n_rows and dim together must be below 2^63, got ", n_rows, " and ", dim);
  const Seed value = call.seed(seed);
  const auto out = call.template output<float>({n_rows, dim});
  if (size > 0) ans_noise(NoiseArgs{value, n_rows, dim, out.data}, call.where());
  return out.tensor;
}

}  // namespace ans::ops
#endif
