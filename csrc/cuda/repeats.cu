// A warp copies or adds up a position's row.
#include "ops/repeats.h"

#include "cuda/sums.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

unsigned grid_of(int64_t work, int64_t a_block) { return grid_for(work, a_block, 16); }

// -1 is the largest number of those without a sign.
__global__ void __launch_bounds__(kThreads) no_position_kernel(const FirstArgs a) {
  for (int64_t id = thread_of_grid(); id < a.n; id += threads_of_grid()) a.first[id] = -1;
}

__global__ void __launch_bounds__(kThreads) first_position_kernel(const FirstArgs a) {
  for (int64_t r = thread_of_grid(); r < a.n_ids; r += threads_of_grid()) {
    const int64_t id = a.ids[r];
    if (id >= 0 && id < a.n) atomicMin(reinterpret_cast<unsigned*>(a.first) + id, static_cast<unsigned>(r));
  }
}

// Calls function(position, where its id occurs first or -1, lane) by all lanes of a warp, for all positions.
template <typename T, typename Function>
__device__ __forceinline__ void for_each_position(const RepeatArgs<T>& a, Function function) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int64_t r = thread_of_grid() / 32; r < a.n_ids; r += threads_of_grid() / 32) {
    const int64_t id = __ldg(a.ids + r);
    function(r, id >= 0 && id < a.n ? int64_t{__ldg(a.first + id)} : int64_t{-1}, lane);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) copy_kernel(const RepeatArgs<T> a) {
  for_each_position(a, [&](int64_t r, int64_t first, int lane) {
    if (first == r) return;
    for (int64_t d = lane; d < a.width; d += 32)
      a.out[r * a.width + d] = first < 0 ? from_float<T>(NAN) : a.rows[first * a.width + d];
  });
}

// Zeros are left out: of an id that stands for none there may be thousands.
template <typename T>
__global__ void __launch_bounds__(kThreads) add_kernel(const RepeatArgs<T> a, float* sums) {
  for_each_position(a, [&](int64_t r, int64_t first, int lane) {
    if (first < 0) return;
    for (int64_t d = lane; d < a.width; d += 32) {
      const float value = to_float(a.rows[r * a.width + d]);
      if (value != 0.0f) atomicAdd(sums + first * a.width + d, value);
    }
  });
}

}  // namespace

void find_first(const FirstArgs& args, const Stream& stream) {
  if (args.n == 0) return;
  ANS_LAUNCH(no_position_kernel, dim3(grid_of(args.n, kThreads)), dim3(kThreads), 0, stream.stream, args);
  if (args.n_ids == 0) return;
  ANS_LAUNCH(first_position_kernel, dim3(grid_of(args.n_ids, kThreads)), dim3(kThreads), 0, stream.stream, args);
}

template <typename T>
void copy_repeats(const RepeatArgs<T>& args, const Stream& stream) {
  if (args.n_ids * args.width == 0) return;
  ANS_LAUNCH(copy_kernel<T>, dim3(grid_of(args.n_ids, kWarps)), dim3(kThreads), 0, stream.stream, args);
}

template <typename T>
void sum_repeats(const RepeatArgs<T>& args, const Stream& stream) {
  const int64_t size = args.n_ids * args.width;
  if (size == 0) return;
  float* const sums = sums_of(args.out, size, stream);
  clear(sums, size, stream.stream);
  ANS_LAUNCH(add_kernel<T>, dim3(grid_of(args.n_ids, kWarps)), dim3(kThreads), 0, stream.stream, args, sums);
  store_sums(args.out, sums, size, stream);
}

template void copy_repeats<float>(const RepeatArgs<float>&, const Stream&);
template void copy_repeats<__nv_bfloat16>(const RepeatArgs<__nv_bfloat16>&, const Stream&);
template void copy_repeats<__half>(const RepeatArgs<__half>&, const Stream&);
template void sum_repeats<float>(const RepeatArgs<float>&, const Stream&);
template void sum_repeats<__nv_bfloat16>(const RepeatArgs<__nv_bfloat16>&, const Stream&);
template void sum_repeats<__half>(const RepeatArgs<__half>&, const Stream&);

}  // namespace ans::cuda
