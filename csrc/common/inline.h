// How functions shared by the CPU and CUDA kernels are declared.
//
// Host code is compiled several times, once for each instruction set, so everything in csrc/common has internal
// linkage: an external inline function compiled for AVX-512 could otherwise be the copy that the linker keeps.
#pragma once

#if defined(__CUDACC__)
#define ANS_INLINE static __host__ __device__ __forceinline__
#else
#define ANS_INLINE static inline __attribute__((always_inline))
#endif
