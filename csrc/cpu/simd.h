// One kernel source, several instruction sets.
//
// Every file of csrc/cpu is compiled once a SIMD level, with -DANS_SIMD=<level> and that level's compiler flags. It
// includes no torch and no standard containers, keeps everything in an anonymous namespace, and exports one function an
// operator, named by ANS_ENTRY: propagate_baseline, propagate_avx2, propagate_avx512. So no code that needs AVX-512
// can be linked in where an older CPU would run it.
#pragma once

#include <cstdint>

#define ANS_JOIN_(name, level) name##_##level
#define ANS_JOIN(name, level) ANS_JOIN_(name, level)
#define ANS_ENTRY(name) ANS_JOIN(name, ANS_SIMD)

#if defined(__x86_64__)
#define ANS_FOR_EACH_LEVEL(X, ...) X(baseline, __VA_ARGS__) X(avx2, __VA_ARGS__) X(avx512, __VA_ARGS__)
#else
#define ANS_FOR_EACH_LEVEL(X, ...) X(baseline, __VA_ARGS__)
#endif

// Declares name_<level>(args) for all levels, and `name`, which calls the level in use.
#define ANS_DECLARE_LEVEL(level, result, name, Args) result name##_##level(const Args& args);
#define ANS_CALL_LEVEL(level, result, name, Args) \
  if (simd_level() == SimdLevel::level) return name##_##level(args);
#define ANS_KERNEL(result, name, Args)                               \
  ANS_FOR_EACH_LEVEL(ANS_DECLARE_LEVEL, result, name, Args)          \
  static inline result name(const Args& args) {                      \
    ANS_FOR_EACH_LEVEL(ANS_CALL_LEVEL, result, name, Args)           \
    __builtin_unreachable();                                         \
  }

namespace ans::cpu {

enum class SimdLevel { baseline, avx2, avx512 };

// The highest level that the CPU has, lowered by the environment variable ANS_FAST_SIMD. Defined in csrc/simd.cpp.
SimdLevel simd_level();
const char* simd_level_name(SimdLevel level);

}  // namespace ans::cpu
