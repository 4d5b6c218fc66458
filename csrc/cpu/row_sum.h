// Sums over one row, kept in one vector register and added up as a tree.
//
// `#pragma omp simd reduction` adds the lanes one after the other when the loop ends, since it may not reorder sums: of a
// row of 64 floats, half of the time goes there.
#pragma once

#include <cstdint>
#include <string.h>

namespace ans::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int64_t kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int64_t kVectorBytes = 32;
#else
constexpr int64_t kVectorBytes = 16;
#endif

// The sum of a vector's lanes: halves are added until one lane is left.
template <typename T, int64_t bytes, typename Vector>
inline T sum_lanes(const Vector& vector) {
  if constexpr (bytes == sizeof(T)) {
    return vector[0];
  } else {
    typedef T Half __attribute__((vector_size(bytes / 2)));
    Half halves[2];
    memcpy(halves, &vector, bytes);
    return sum_lanes<T, bytes / 2, Half>(halves[0] + halves[1]);
  }
}

// Σ term(d) over 0 ≤ d < dim
template <typename T, typename Term>
inline T sum_row(int64_t dim, Term term) {
  constexpr int64_t n_lanes = kVectorBytes / sizeof(T);
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  Vector sums = {};
  int64_t begin = 0;
  for (; begin + n_lanes <= dim; begin += n_lanes) {
    Vector terms;
#pragma omp simd
    for (int64_t lane = 0; lane < n_lanes; ++lane) terms[lane] = term(begin + lane);
    sums += terms;
  }
  T rest = 0;
  for (int64_t d = begin; d < dim; ++d) rest += term(d);
  return sum_lanes<T, kVectorBytes>(sums) + rest;
}

}  // namespace
}  // namespace ans::cpu
