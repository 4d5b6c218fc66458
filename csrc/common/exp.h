// An exponential that the compiler can vectorise, the same on CPU and GPU, and the sigmoid made of it.
#pragma once

#include <math.h>
#include <cstdint>
#include <string.h>

#include "inline.h"

namespace ans {

// e^x for float, within 2 ulp on [-87.3, 88.3]; outside it stays at the bound's value, so that sigmoid saturates without
// infinities. NaN stays NaN. x = n·ln2 + r with n an integer and |r| ≤ ln2 / 2, then e^r by its minimax polynomial.
ANS_INLINE float fast_exp(float x) {
#if defined(__CUDA_ARCH__)
  return __expf(x);  // two instructions, within 2 + 1.2 |x| ulp; infinite above 88.7
#else
  constexpr float low = -87.3f, high = 88.3f, to_integer = 12582912.0f;  // adding 1.5·2^23 rounds to an integer
  x = x < low ? low : x;
  x = x > high ? high : x;
  const float shifted = x * 1.44269504f + to_integer;
  const float n = shifted - to_integer;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float e = 1.9875691500e-4f;
  e = e * r + 1.3981999507e-3f;
  e = e * r + 8.3334519073e-3f;
  e = e * r + 4.1665795894e-2f;
  e = e * r + 1.6666665459e-1f;
  e = e * r + 5.0000001201e-1f;
  e = e * r * r + r + 1.0f;
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;  // the integer sits in the low bits of `shifted`
  float power;
  memcpy(&power, &bits, sizeof power);
  return e * power;
#endif
}

ANS_INLINE double fast_exp(double x) { return exp(x); }

template <typename T>
ANS_INLINE T sigmoid(T x) {
  return T(1) / (T(1) + fast_exp(-x));
}

}  // namespace ans
