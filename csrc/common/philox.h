// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
//
// Key: the 64-bit seed. Counter: (row low, row high, block of four draws, stream). The words depend on nothing else, so
// every backend, device and number of threads draws the same numbers.
#pragma once

#include <cstdint>

#include "inline.h"

namespace ans {

enum PhiloxStream : uint32_t { kNoiseStream = 0, kSamplingStream = 1 };

struct PhiloxBlock {
  uint32_t word[4];
};

// All 64 bits of the product of the low halves.
ANS_INLINE uint64_t wide_product(uint64_t a, uint32_t b) { return uint64_t{static_cast<uint32_t>(a)} * b; }

// Ten rounds on a counter whose words are the low halves of c[0 … 3]. W: uint64_t, or several in a register.
template <typename W>
ANS_INLINE void philox_rounds(uint64_t seed, W (&c)[4]) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const W product0 = wide_product(c[0], 0xD2511F53u), product1 = wide_product(c[2], 0xCD9E8D57u);
    c[0] = (product1 >> 32) ^ c[1] ^ W(k0);
    c[1] = product1;
    c[2] = (product0 >> 32) ^ c[3] ^ W(k1);
    c[3] = product0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

ANS_INLINE PhiloxBlock philox(uint64_t seed, uint64_t row, uint32_t block, uint32_t stream) {
  uint64_t c[4] = {row, row >> 32, block, stream};
  philox_rounds(seed, c);
  return {{static_cast<uint32_t>(c[0]), static_cast<uint32_t>(c[1]), static_cast<uint32_t>(c[2]),
           static_cast<uint32_t>(c[3])}};
}

// Uniform on [0, 1) with 24 bits: exact in float32.
ANS_INLINE float unit_float(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Uniform on {0, …, range − 1} for range ≤ 2^31, by multiplication: no value's probability is off by more than 2^-32.
ANS_INLINE uint32_t below(uint32_t word, uint32_t range) {
  return static_cast<uint32_t>(wide_product(word, range) >> 32);
}

}  // namespace ans
