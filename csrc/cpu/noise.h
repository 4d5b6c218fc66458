// Rows of uniform draws: the r of augmented negative sampling.
#pragma once

#include "common/philox.h"
#include "cpu/pack.h"

namespace ans::cpu {
namespace {

// Counter words of several blocks, each in the low half of a lane.
struct WordPack {
  typedef uint64_t Vector __attribute__((vector_size(kVectorBytes)));
  static constexpr int size = kVectorBytes / sizeof(uint64_t);

  Vector lanes;

  WordPack() : lanes{} {}
  ANS_PACKED explicit WordPack(uint64_t value) : lanes(value + Vector{}) {}
  ANS_PACKED explicit WordPack(Vector vector) : lanes(vector) {}

  friend ANS_PACKED WordPack operator^(WordPack a, WordPack b) { return WordPack(a.lanes ^ b.lanes); }
  friend ANS_PACKED WordPack operator>>(WordPack a, int bits) { return WordPack(a.lanes >> bits); }
};

ANS_PACKED WordPack wide_product(WordPack a, uint32_t b) {
  const WordPack other(b);
#if defined(__AVX512F__)  // the masked form, since GCC 12 warns of the other
  return WordPack((WordPack::Vector)_mm512_maskz_mul_epu32(0xff, (__m512i)a.lanes, (__m512i)other.lanes));
#elif defined(__AVX2__)
  return WordPack((WordPack::Vector)_mm256_mul_epu32((__m256i)a.lanes, (__m256i)other.lanes));
#elif defined(__SSE2__)
  return WordPack((WordPack::Vector)_mm_mul_epu32((__m128i)a.lanes, (__m128i)other.lanes));
#else
  return WordPack((a.lanes & 0xffffffffu) * other.lanes);
#endif
}

// Two registers' lanes in turn, from lane `from` of each on.
template <int from, int... lane>
ANS_PACKED WordPack::Vector zip(WordPack::Vector a, WordPack::Vector b, std::integer_sequence<int, lane...>) {
  return shuffle<WordPack::Vector, (from + lane / 2 + lane % 2 * WordPack::size)...>(a, b);
}

template <int... lane>
ANS_PACKED WordPack first_blocks(std::integer_sequence<int, lane...>) {
  return WordPack(WordPack::Vector{lane...});
}

// The r of one row, [dim].
template <typename T>
inline void draw_noise(uint64_t seed, int64_t row, int64_t dim, T* __restrict__ r) {
  constexpr int size = WordPack::size, step = 4 * size;
  constexpr auto lanes = std::make_integer_sequence<int, size>();
  typedef int32_t Integers __attribute__((vector_size(kVectorBytes)));  // converted to float faster than Words
  typedef float Floats __attribute__((vector_size(kVectorBytes)));
  WordPack block = first_blocks(lanes);
  for (int64_t d = 0; d < dim; d += step) {
    WordPack c[4] = {WordPack(row), WordPack(row >> 32), block, WordPack(kNoiseStream)};
    philox_rounds(seed, c);
    WordPack::Vector pairs[2];  // of each block: words 0 and 1, and words 2 and 3, as floats
    for (int i = 0; i < 2; ++i) {
      const WordPack::Vector words = (c[2 * i].lanes & 0xffffffffu) | (c[2 * i + 1].lanes << 32);
      const Integers bits = reinterpret_cast<Integers>(reinterpret_cast<Words>(words) >> 8);
      pairs[i] = reinterpret_cast<WordPack::Vector>(__builtin_convertvector(bits, Floats) * 0x1p-24f);
    }
    const WordPack::Vector blocks[2] = {zip<0>(pairs[0], pairs[1], lanes), zip<size / 2>(pairs[0], pairs[1], lanes)};
    float values[step];
    memcpy(values, blocks, sizeof values);
    const int64_t wanted = dim - d < step ? dim - d : step;
    if (sizeof(T) == sizeof(float) && wanted == step) memcpy(r + d, values, sizeof values);
    else for (int64_t i = 0; i < wanted; ++i) r[d + i] = values[i];
    block.lanes += size;
  }
}

}  // namespace
}  // namespace ans::cpu
