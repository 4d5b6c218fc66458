// An exponential and a logarithm that the compiler can vectorise, the same on CPU and GPU, and the sigmoid.
#pragma once

#include <math.h>
#include <cstdint>
#include <string.h>

#include "inline.h"

namespace ans {

ANS_INLINE float clamp(float x, float low, float high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

// 2^n from n + 1.5·2^23, which holds the integer n in its low bits.
ANS_INLINE float power_of_two(float shifted) {
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return power;
}

// e^x for float, within 2 ulp on [-87.3, 88.3]; outside it stays at the bound's value, so that sigmoid saturates without
// infinities. NaN stays NaN. x = n·ln2 + r with n an integer and |r| ≤ ln2 / 2, then e^r by its minimax polynomial.
// T: float, or several in a register.
template <typename T>
ANS_INLINE T exp_by_polynomial(T x) {
  const T to_integer = T(12582912.0f);  // adding 1.5·2^23 rounds to an integer
  x = clamp(x, -87.3f, 88.3f);
  const T shifted = x * T(1.44269504f) + to_integer;
  const T n = shifted - to_integer;
  const T r = (x - n * T(0.693359375f)) + n * T(2.12194440e-4f);
  T e = T(1.9875691500e-4f);
  e = e * r + T(1.3981999507e-3f);
  e = e * r + T(8.3334519073e-3f);
  e = e * r + T(4.1665795894e-2f);
  e = e * r + T(1.6666665459e-1f);
  e = e * r + T(5.0000001201e-1f);
  e = e * r * r + r + T(1.0f);
  return e * power_of_two(shifted);
}

ANS_INLINE float fast_exp(float x) {
#if defined(__CUDA_ARCH__)
  return __expf(x);  // two instructions, within 2 + 1.2 |x| ulp; infinite above 88.7
#else
  return exp_by_polynomial(x);
#endif
}

ANS_INLINE double fast_exp(double x) { return exp(x); }

// log(1 + x) of x in [0, 1], within 3 ulp: twice the inverse hyperbolic tangent of x / (2 + x), by its series.
ANS_INLINE float log_one_plus(float x) {
  const float z = x / (2.0f + x), square = z * z;
  float series = 2.0f / 13.0f;
  series = series * square + 2.0f / 11.0f;
  series = series * square + 2.0f / 9.0f;
  series = series * square + 2.0f / 7.0f;
  series = series * square + 2.0f / 5.0f;
  series = series * square + 2.0f / 3.0f;
  return series * square * z + 2.0f * z;
}

ANS_INLINE double log_one_plus(double x) { return log1p(x); }

template <typename T>
ANS_INLINE T sigmoid(T x) {
  return T(1) / (T(1) + fast_exp(-x));
}

}  // namespace ans
