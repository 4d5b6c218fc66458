// How a team of lanes holds a row of up to 8 · kTeam values in registers: eight a lane, as two runs of four.
//
// Runs are four columns because a Philox block is four draws and a float4 is 16 bytes. Rows of 16-bit values give a lane
// eight neighbouring columns, again 16 bytes. kFull says that the row has exactly 8 · kTeam values; otherwise columns
// from `dim` on are absent, and rows whose start may be unaligned (dim not a multiple of 16 bytes) are read by the value.
#pragma once

#include <cstring>

#include "cuda/platform.h"

namespace ans::cuda {

constexpr int kRuns = 2, kRun = 4, kValues = kRuns * kRun;

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }

template <typename T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) { return x; }
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) { return __float2bfloat16(x); }
template <>
__device__ __forceinline__ __half from_float<__half>(float x) { return __float2half(x); }

// Adds four values to memory that others add to.
__device__ __forceinline__ void atomic_add4(float* to, float x, float y, float z, float w) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  atomicAdd(reinterpret_cast<float4*>(to), make_float4(x, y, z, w));
#else
  atomicAdd(to, x);
  atomicAdd(to + 1, y);
  atomicAdd(to + 2, z);
  atomicAdd(to + 3, w);
#endif
}

template <typename T, int kTeam, bool kFull, int kBytes = sizeof(T)>
struct Row {
  using Value = T;
  template <typename Other>
  using Of = Row<Other, kTeam, kFull, kBytes>;  // a row of other values that spreads over lanes as this one does
  using Float = Of<float>;
  static constexpr int kTeamSize = kTeam;
  static constexpr bool kIsFull = kFull;
  static constexpr int kVector = 16 / sizeof(T);  // values in 16 bytes

  // The first column of a lane's run.
  static __device__ __forceinline__ int start(int lane, int run) {
    return kBytes == 4 ? (run * kTeam + lane) * kRun : lane * kValues + run * kRun;
  }

  static __device__ __forceinline__ bool has(int column, int dim) { return kFull || column < dim; }

  // Whether rows of a table of `dim` columns all start at 16 bytes.
  static __device__ __forceinline__ bool aligned(int64_t dim) { return kFull || dim % kVector == 0; }

  // values[i] = row[column of i], 0 for absent columns.
  static __device__ __forceinline__ void load(const T* row, int lane, int dim, float (&values)[kValues]) {
    load(row, lane, dim, aligned(dim), values);
  }

  static __device__ __forceinline__ void load(const T* row, int lane, int dim, bool is_aligned,
                                              float (&values)[kValues]) {
    if (kFull || is_aligned) {
#pragma unroll
      for (int i = 0; i < kValues; i += kVector) {
        const int column = start(lane, i / kRun);
        T some[kVector] = {};
        if (has(column, dim)) {
          const float4 bits = __ldg(reinterpret_cast<const float4*>(row + column));
          memcpy(some, &bits, sizeof bits);
        }
#pragma unroll
        for (int j = 0; j < kVector; ++j) values[i + j] = to_float(some[j]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        const int column = start(lane, i / kRun) + i % kRun;
        values[i] = column < dim ? to_float(row[column]) : 0.0f;
      }
    }
  }

  static __device__ __forceinline__ void store(T* row, int lane, int dim, bool is_aligned,
                                               const float (&values)[kValues]) {
    if (kFull || is_aligned) {
#pragma unroll
      for (int i = 0; i < kValues; i += kVector) {
        const int column = start(lane, i / kRun);
        T some[kVector];
#pragma unroll
        for (int j = 0; j < kVector; ++j) some[j] = from_float<T>(values[i + j]);
        float4 bits;
        memcpy(&bits, some, sizeof bits);
        if (has(column, dim)) *reinterpret_cast<float4*>(row + column) = bits;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        const int column = start(lane, i / kRun) + i % kRun;
        if (column < dim) row[column] = from_float<T>(values[i]);
      }
    }
  }

  // Hands a lane's run of a float row to memory: atomically added, or stored.
  enum class Write { kAtomic, kStore };
  template <Write kWrite>
  static __device__ __forceinline__ void write_run(float* row, int column, int dim, const float* values) {
    if (kFull || dim % kRun == 0) {
      float4* to = reinterpret_cast<float4*>(row + column);
      if (!has(column, dim)) {
      } else if (kWrite == Write::kAtomic) {
        atomic_add4(row + column, values[0], values[1], values[2], values[3]);
      } else {
        *to = make_float4(values[0], values[1], values[2], values[3]);
      }
    } else {
#pragma unroll
      for (int j = 0; j < kRun; ++j) {
        if (column + j >= dim) continue;
        if (kWrite == Write::kAtomic) atomicAdd(row + column + j, values[j]);
        else row[column + j] = values[j];
      }
    }
  }

  template <Write kWrite>
  static __device__ __forceinline__ void write(float* row, int lane, int dim, const float (&values)[kValues]) {
#pragma unroll
    for (int run = 0; run < kRuns; ++run) write_run<kWrite>(row, start(lane, run), dim, values + run * kRun);
  }
};

// Calls function(Row<T, kTeam, kFull>{}) with the smallest team that holds `dim` values, dim ≤ kMaxDim.
template <typename T, typename Function>
void with_row(int64_t dim, Function function) {
  if (dim == 64) function(Row<T, 8, true>{});
  else if (dim == 128) function(Row<T, 16, true>{});
  else if (dim == 256) function(Row<T, 32, true>{});
  else if (dim <= 64) function(Row<T, 8, false>{});
  else if (dim <= 256) function(Row<T, 32, false>{});
  else function(Row<T, 128, false>{});
}

}  // namespace ans::cuda
