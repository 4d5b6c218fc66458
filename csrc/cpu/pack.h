// Several numbers in one register, which the formulas of csrc/common take in place of one.
//
// Written out instead of left to the compiler: where it may not reorder sums, it adds a vector's lanes one after another,
// which takes as long as the row itself.
#pragma once

#include <string.h>
#include <type_traits>
#include <utility>

#include "common/exp.h"
#include "cpu/bfloat16.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ans::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

#define ANS_PACKED inline __attribute__((always_inline))

template <typename T, typename Int>
struct Register {
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  typedef T Loose __attribute__((vector_size(kVectorBytes), aligned(sizeof(T))));  // where rows are not ours to align
  typedef Int Mask __attribute__((vector_size(kVectorBytes)));
};
template <typename T>
struct RegisterOf;
template <>
struct RegisterOf<float> : Register<float, int32_t> {};
template <>
struct RegisterOf<double> : Register<double, int64_t> {};

template <typename T>
struct Pack : RegisterOf<T> {
  using typename RegisterOf<T>::Vector;
  static constexpr int size = kVectorBytes / sizeof(T);

  Vector lanes;

  Pack() : lanes{} {}
  ANS_PACKED explicit Pack(T value) : lanes(value - Vector{}) {}
  ANS_PACKED explicit Pack(Vector vector) : lanes(vector) {}

  friend ANS_PACKED Pack operator+(Pack a, Pack b) { return Pack(a.lanes + b.lanes); }
  friend ANS_PACKED Pack operator-(Pack a, Pack b) { return Pack(a.lanes - b.lanes); }
  friend ANS_PACKED Pack operator*(Pack a, Pack b) { return Pack(a.lanes * b.lanes); }
  friend ANS_PACKED Pack operator/(Pack a, Pack b) { return Pack(a.lanes / b.lanes); }
  friend ANS_PACKED Pack operator-(Pack a) { return Pack(-a.lanes); }
  ANS_PACKED Pack& operator+=(Pack other) {
    lanes += other.lanes;
    return *this;
  }
};

using ans::fast_exp;

template <typename T>
ANS_PACKED Pack<T> sign(Pack<T> x) {
  using Vector = typename Pack<T>::Vector;
  const Vector zero{}, one = T(1) - zero;
  return Pack<T>(x.lanes > zero ? one : (x.lanes < zero ? -one : zero));
}

// The CPU's maximum and minimum are their second argument where one is NaN: NaN stays NaN.
ANS_PACKED Pack<float> clamp(Pack<float> x, float low, float high) {
  const Pack<float> least(low), most(high);
#if defined(__AVX512F__)  // the masked form, since GCC 12 warns of the other
  return Pack<float>(_mm512_maskz_min_ps(0xffff, most.lanes, _mm512_maskz_max_ps(0xffff, least.lanes, x.lanes)));
#elif defined(__AVX2__)
  return Pack<float>(_mm256_min_ps(most.lanes, _mm256_max_ps(least.lanes, x.lanes)));
#elif defined(__x86_64__)
  return Pack<float>(_mm_min_ps(most.lanes, _mm_max_ps(least.lanes, x.lanes)));
#else
  x.lanes = x.lanes < least.lanes ? least.lanes : x.lanes;
  return Pack<float>(x.lanes > most.lanes ? most.lanes : x.lanes);
#endif
}

ANS_PACKED Pack<float> power_of_two(Pack<float> shifted) {
  typedef uint32_t Bits __attribute__((vector_size(kVectorBytes)));
  return Pack<float>(reinterpret_cast<Pack<float>::Vector>((reinterpret_cast<Bits>(shifted.lanes) + 127u) << 23));
}

ANS_PACKED Pack<float> fast_exp(Pack<float> x) { return exp_by_polynomial(x); }

ANS_PACKED Pack<double> fast_exp(Pack<double> x) {
  for (int i = 0; i < Pack<double>::size; ++i) x.lanes[i] = exp(x.lanes[i]);
  return x;
}

// Lanes of a, and of b from a's number of lanes on.
template <typename Mask, int... lane, typename Vector>
ANS_PACKED Vector shuffle(Vector a, Vector b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, lane...);
#else  // GCC before 12 knows only this
  return __builtin_shuffle(a, b, Mask{lane...});
#endif
}

template <typename T, int half, int... lane>
ANS_PACKED Pack<T> add_other_half(Pack<T> x, std::integer_sequence<int, lane...>) {
  return Pack<T>(x.lanes + shuffle<typename Pack<T>::Mask, (lane ^ half)...>(x.lanes, x.lanes));
}

template <typename T, int half = Pack<T>::size / 2>
ANS_PACKED T sum(Pack<T> x) {
  if constexpr (half == 0) return x.lanes[0];
  else return sum<T, half / 2>(add_other_half<T, half>(x, std::make_integer_sequence<int, Pack<T>::size>()));
}

// Lanes without `half` of a and with it of b, each added to the lane that differs in it.
template <typename T, int half, int... lane>
ANS_PACKED Pack<T> merge(Pack<T> a, Pack<T> b, std::integer_sequence<int, lane...>) {
  using Mask = typename Pack<T>::Mask;
  constexpr int size = Pack<T>::size;
  return Pack<T>(shuffle<Mask, (lane & half ? size + lane : lane)...>(a.lanes, b.lanes) +
                 shuffle<Mask, (lane & half ? size + (lane ^ half) : lane ^ half)...>(a.lanes, b.lanes));
}

// The sums of several, to the bits of sum(): registers are merged where half of their lanes would say the same. Of what
// x[i] has merged, `step` each, the sums go to sums[i · step] and on.
template <typename T, int Count, int half = Pack<T>::size / 2>
ANS_PACKED void sum_each(const Pack<T> (&x)[Count], T* sums, int step = 1) {
  constexpr auto lanes = std::make_integer_sequence<int, Pack<T>::size>();
  if constexpr (half == 0) {
    for (int i = 0; i < Count; ++i) {
      for (int j = 0; j < step; ++j) {
        int lane = 0;  // the first merge is by the highest bit of lanes, and the lowest of j
        for (int bit = 1, place = Pack<T>::size / 2; bit < step; bit *= 2, place /= 2) lane += j & bit ? place : 0;
        sums[i * step + j] = x[i].lanes[lane];
      }
    }
  } else if constexpr (Count == 1) {
    const Pack<T> folded[1] = {add_other_half<T, half>(x[0], lanes)};
    sum_each<T, 1, half / 2>(folded, sums, step);
  } else {
    Pack<T> merged[Count / 2];
    for (int i = 0; i < Count / 2; ++i) merged[i] = merge<T, half>(x[2 * i], x[2 * i + 1], lanes);
    sum_each<T, Count / 2, half / 2>(merged, sums, 2 * step);
  }
}

// V is T or Pack<T>.
template <typename V, typename T>
ANS_PACKED V load(const T* from) {
  if constexpr (std::is_same_v<V, T>) return *from;
  else return V(typename V::Vector(*reinterpret_cast<const typename V::Loose*>(from)));
}

// As many 16-bit numbers as a Pack<float> has lanes.
typedef uint16_t HalfWords __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));
typedef uint32_t Words __attribute__((vector_size(kVectorBytes), may_alias));

// Written out, since GCC 12 takes five instructions each for what is one; the masked forms, since it warns of the others.
ANS_PACKED Words widened(HalfWords bits) {
#if defined(__AVX512F__)
  return (Words)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)bits);
#elif defined(__AVX2__)
  return (Words)_mm256_cvtepu16_epi32((__m128i)bits);
#else
  return __builtin_convertvector(bits, Words);
#endif
}

ANS_PACKED HalfWords narrowed(Words bits) {
#if defined(__AVX512F__)
  return (HalfWords)_mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)bits);
#else
  return __builtin_convertvector(bits, HalfWords);
#endif
}

// The same of bfloat16: V is float or Pack<float>.
template <typename V>
ANS_PACKED V load(const bfloat16* from) {
  if constexpr (std::is_same_v<V, float>) {
    const uint32_t bits = uint32_t{from->bits} << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  } else {
    const Words bits = widened(*reinterpret_cast<const HalfWords*>(from)) << 16;
    return V(reinterpret_cast<typename V::Vector>(bits));
  }
}

// The bits of a float, or of several, with the nearest bfloat16 as their upper half, of two the one with an even last
// bit; NaN stays NaN.
template <typename Bits, typename V>
ANS_PACKED Bits rounded(V value) {
  Bits bits;
  memcpy(&bits, &value, sizeof bits);
  return value != value ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1u);
}

ANS_PACKED void store(bfloat16* to, float value) { to->bits = static_cast<uint16_t>(rounded<uint32_t>(value) >> 16); }

ANS_PACKED void store(bfloat16* to, Pack<float> value) {
  *reinterpret_cast<HalfWords*>(to) = narrowed(rounded<Words>(value.lanes) >> 16);
}

template <typename V, typename T>
ANS_PACKED void store(T* to, V value) {
  if constexpr (std::is_same_v<V, T>) *to = value;
  else *reinterpret_cast<typename V::Loose*>(to) = value.lanes;
}

template <typename V, typename T>
ANS_PACKED void add_to(T* to, V value) {
  if constexpr (std::is_same_v<V, T>) *to += value;
  else *reinterpret_cast<typename V::Loose*>(to) += value.lanes;
}

// body(V{}, d) for columns d of [0, dim): V = Pack<T> as long as there are that many, then V = T.
template <typename T, typename Body>
ANS_PACKED void for_columns(int64_t dim, Body body) {
  int64_t d = 0;
  for (; d + Pack<T>::size <= dim; d += Pack<T>::size) body(Pack<T>{}, d);
  for (; d < dim; ++d) body(T{}, d);
}

// Σ term(V{}, d), columns as above.
template <typename T, typename Term>
ANS_PACKED T sum_columns(int64_t dim, Term term) {
  Pack<T> packs;
  T rest = 0;
  for_columns<T>(dim, [&](auto kind, int64_t d) __attribute__((always_inline)) {
    if constexpr (std::is_same_v<decltype(kind), T>) rest += term(kind, d);
    else packs += term(kind, d);
  });
  return sum(packs) + rest;
}

// to[0, size) = 0
template <typename T>
inline void clear(T* to, int64_t size) {
  memset(to, 0, sizeof(T) * static_cast<size_t>(size));
}

// to[0, size) += from[0, size)
template <typename T>
inline void add(T* to, const T* from, int64_t size) {
  for_columns<T>(size, [&](auto kind, int64_t d) { add_to(to + d, load<decltype(kind)>(from + d)); });
}

template <typename T>
ANS_PACKED void prefetch_row(const T* row, int64_t dim) {
  for (int64_t d = 0; d < dim; d += 64 / sizeof(T)) __builtin_prefetch(row + d);
}

}  // namespace
}  // namespace ans::cpu
