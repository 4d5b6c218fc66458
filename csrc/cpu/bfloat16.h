// The upper half of a float32: what rows may be stored as, for half the bytes. Nothing is computed in it.
#pragma once

#include <cstdint>

namespace ans::cpu {

struct bfloat16 {
  uint16_t bits;
};

}  // namespace ans::cpu
