// The names of CUDA that the kernels use, for a C++ compiler: what csrc/cuda/platform.h includes when nvcc does not
// compile. Launch with simt::launch (block.h).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "block.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // one block at a time
#define threadIdx (simt::Block::current()->thread_index())
#define blockIdx (simt::Block::current()->block_index())
#define blockDim (simt::Block::current()->block_extent())
#define gridDim (simt::Block::current()->grid_extent())
#define warpSize 32

using dim3 = simt::Extent;
using cudaStream_t = void*;

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

struct __nv_bfloat16 { std::uint16_t bits; };
inline float __bfloat162float(__nv_bfloat16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }
inline __nv_bfloat16 __float2bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return {0x7fff};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
struct __half { _Float16 value; };
inline float __half2float(__half half) { return static_cast<float>(half.value); }
inline __half __float2half(float value) { return {static_cast<_Float16>(value)}; }

template <typename T>
T __ldg(const T* address) { return *address; }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

// Threads run one at a time between meeting points, so an atomic is a plain update.
template <typename T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  if constexpr (std::is_same_v<T, float4>) {
    *address = {old.x + value.x, old.y + value.y, old.z + value.z, old.w + value.w};
  } else if constexpr (std::is_same_v<T, float2>) {
    *address = {old.x + value.x, old.y + value.y};
  } else {
    *address = old + value;
  }
  return old;
}

template <typename T>
T atomicMin(T* address, T value) {
  const T old = *address;
  *address = std::min(old, value);
  return old;
}

inline void __syncthreads(int line = __builtin_LINE()) { simt::Block::current()->barrier(line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  simt::Block::current()->meet("__syncwarp", mask, 0, line);
}
inline void __threadfence() {}

namespace simt {

template <typename T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <typename T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline int lane() {
  const Block& block = *Block::current();
  const Index& t = block.thread_index();
  return static_cast<int>((t.x + block.block_extent().x * (t.y + block.block_extent().y * t.z)) % kWarp);
}

// `source` is in the caller's segment of `width` lanes; one out of range, or one that the mask leaves out, has no value.
template <typename T>
T shuffle(const char* name, unsigned mask, T value, int source, bool in_range, int line) {
  const auto meeting = Block::current()->meet(name, mask, to_bits(value), line);
  if (!in_range) return value;
  if (!(mask >> source & 1)) {
    Block::fail(std::string(name) + " (line " + std::to_string(line) + "): lane " + std::to_string(lane()) +
                " reads lane " + std::to_string(source) + ", which its mask leaves out");
  }
  return from_bits<T>(meeting->value[source]);
}

template <typename T, typename Combine>
T reduce(const char* name, unsigned mask, T value, int line, Combine combine) {
  const auto meeting = Block::current()->meet(name, mask, to_bits(value), line);
  bool first = true;
  T result{};
  for (int i = 0; i < kWarp; ++i) {
    if (!(mask >> i & 1)) continue;
    const T other = from_bits<T>(meeting->value[i]);
    result = first ? other : combine(result, other);
    first = false;
  }
  return result;
}

}  // namespace simt

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
  const int base = simt::lane() / width * width;
  return simt::shuffle("__shfl_sync", mask, value, base + (source & (width - 1)), true, line);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32, int line = __builtin_LINE()) {
  const int lane = simt::lane(), source = lane ^ flip;
  return simt::shuffle("__shfl_xor_sync", mask, value, source, source / width <= lane / width, line);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
  const int lane = simt::lane(), source = lane - static_cast<int>(delta);
  return simt::shuffle("__shfl_up_sync", mask, value, source, source >= lane / width * width, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, int line = __builtin_LINE()) {
  const int lane = simt::lane(), source = lane + static_cast<int>(delta);
  return simt::shuffle("__shfl_down_sync", mask, value, source, source < (lane / width + 1) * width, line);
}
template <typename T>
T __reduce_add_sync(unsigned mask, T value, int line = __builtin_LINE()) {
  return simt::reduce("__reduce_add_sync", mask, value, line, [](T a, T b) { return a + b; });
}
template <typename T>
T __reduce_max_sync(unsigned mask, T value, int line = __builtin_LINE()) {
  return simt::reduce("__reduce_max_sync", mask, value, line, [](T a, T b) { return std::max(a, b); });
}
template <typename T>
T __reduce_min_sync(unsigned mask, T value, int line = __builtin_LINE()) {
  return simt::reduce("__reduce_min_sync", mask, value, line, [](T a, T b) { return std::min(a, b); });
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  const unsigned bit = predicate ? 1u << simt::lane() : 0u;
  return simt::reduce("__ballot_sync", mask, bit, line, [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return simt::reduce("__any_sync", mask, int{predicate != 0}, line, [](int a, int b) { return a | b; });
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return simt::reduce("__all_sync", mask, int{predicate != 0}, line, [](int a, int b) { return a & b; });
}
