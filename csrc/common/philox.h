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

ANS_INLINE uint32_t high_product(uint32_t a, uint32_t b) { return static_cast<uint32_t>((uint64_t{a} * b) >> 32); }

ANS_INLINE PhiloxBlock philox(uint64_t seed, uint64_t row, uint32_t block, uint32_t stream) {
  uint32_t c0 = static_cast<uint32_t>(row), c1 = static_cast<uint32_t>(row >> 32), c2 = block, c3 = stream;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = high_product(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const uint32_t high1 = high_product(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Uniform on [0, 1) with 24 bits: exact in float32.
ANS_INLINE float unit_float(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Uniform on {0, …, range − 1} for range ≤ 2^31, by multiplication: no value's probability is off by more than 2^-32.
ANS_INLINE uint32_t below(uint32_t word, uint32_t range) { return high_product(word, range); }

}  // namespace ans
