// One kernel source, several instruction sets.
//
// Every file of csrc/cpu is compiled once a SIMD level, with -DANS_SIMD=<level> and that level's compiler flags. It
// includes no torch and no standard containers, keeps everything in an anonymous namespace, and exports one function an
// operator, named by ANS_ENTRY: propagate_baseline, propagate_avx2, propagate_avx512. So no code that needs AVX-512
// can be linked in where an older CPU would run it.
#pragma once

#include <cstdint>

#include "common/memory.h"
#include "cpu/bfloat16.h"

#define ANS_JOIN_(name, level) name##_##level
#define ANS_JOIN(name, level) ANS_JOIN_(name, level)
#define ANS_ENTRY(name) ANS_JOIN(name, ANS_SIMD)

#if defined(__x86_64__)
#define ANS_FOR_EACH_LEVEL(X, ...) X(baseline, __VA_ARGS__) X(avx2, __VA_ARGS__) X(avx512, __VA_ARGS__)
#else
#define ANS_FOR_EACH_LEVEL(X, ...) X(baseline, __VA_ARGS__)
#endif

// Declares name_<level>(args, threads) for all levels, and `name`, which calls the level in use.
#define ANS_DECLARE_LEVEL(level, name, Args) void name##_##level(const Args& args, const Threads& threads);
#define ANS_CALL_LEVEL(level, name, Args) \
  if (simd_level() == SimdLevel::level) return name##_##level(args, threads);
#define ANS_KERNEL(name, Args)                                            \
  namespace cpu {                                                         \
  ANS_FOR_EACH_LEVEL(ANS_DECLARE_LEVEL, name, Args)                       \
  static inline void name(const Args& args, const Threads& threads) {     \
    ANS_FOR_EACH_LEVEL(ANS_CALL_LEVEL, name, Args)                        \
    __builtin_unreachable();                                              \
  }                                                                       \
  }
#define ANS_FLOAT_KERNEL(name, Args) ANS_KERNEL(name, Args<float>) ANS_KERNEL(name, Args<double>)
#define ANS_ROW_KERNEL(name, Args) ANS_FLOAT_KERNEL(name, Args) ANS_KERNEL(name, Args<cpu::bfloat16>)
#define ANS_HOP_KERNEL(name, Args) ANS_ROW_KERNEL(name, Args) ANS_KERNEL(name, Args<Shortened<cpu::bfloat16>>)

// Defines the entries that ANS_FLOAT_KERNEL, ANS_ROW_KERNEL or ANS_HOP_KERNEL declared: they call `function`.
#define ANS_DEFINE_FLOAT_KERNEL(name, Args, function) \
  void ANS_ENTRY(name)(const Args<float>& args, const Threads& threads) { function(args, threads); } \
  void ANS_ENTRY(name)(const Args<double>& args, const Threads& threads) { function(args, threads); }
#define ANS_DEFINE_ROW_KERNEL(name, Args, function) \
  ANS_DEFINE_FLOAT_KERNEL(name, Args, function)     \
  void ANS_ENTRY(name)(const Args<bfloat16>& args, const Threads& threads) { function(args, threads); }
#define ANS_DEFINE_HOP_KERNEL(name, Args, function) \
  ANS_DEFINE_ROW_KERNEL(name, Args, function)       \
  void ANS_ENTRY(name)(const Args<Shortened<bfloat16>>& args, const Threads& threads) { function(args, threads); }

namespace ans::cpu {

// Where a kernel runs: on so many threads at most.
struct Threads {
  int most;
  Memory memory;
};

// Threads for `work` units; one for so little that waking others would cost more.
static inline int threads_for(const Threads& threads, int64_t work, int64_t worth_a_thread) {
  const int64_t useful = work / worth_a_thread + 1;
  return static_cast<int>(useful < threads.most ? useful : threads.most);
}

enum class SimdLevel { baseline, avx2, avx512 };

// The highest level that the CPU has, lowered by the environment variable ANS_FAST_SIMD. Defined in csrc/simd.cpp.
SimdLevel simd_level();
const char* simd_level_name(SimdLevel level);

}  // namespace ans::cpu
