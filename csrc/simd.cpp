// Chooses the SIMD level once, at the first call.
#include "cpu/simd.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace ans::cpu {
namespace {

SimdLevel best_of_this_cpu() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx2 && avx512) return SimdLevel::avx512;
  if (avx2) return SimdLevel::avx2;
#endif
  return SimdLevel::baseline;
}

SimdLevel choose() {
  const SimdLevel best = best_of_this_cpu();
  const char* asked = std::getenv("ANS_FAST_SIMD");
  if (asked == nullptr || *asked == '\0') return best;
  for (SimdLevel level : {SimdLevel::baseline, SimdLevel::avx2, SimdLevel::avx512}) {
    if (std::strcmp(asked, simd_level_name(level)) == 0) return level < best ? level : best;
  }
  throw std::runtime_error(std::string("ANS_FAST_SIMD must be baseline, avx2 or avx512, got ") + asked);
}

}  // namespace

SimdLevel simd_level() {
  static const SimdLevel level = choose();
  return level;
}

const char* simd_level_name(SimdLevel level) {
  switch (level) {
    case SimdLevel::avx512: return "avx512";
    case SimdLevel::avx2: return "avx2";
    default: return "baseline";
  }
}

}  // namespace ans::cpu
