// Marks the ids that occur, counts them by blocks of ids, and hands out places: a block's start where those before it end.
#include "ops/distinct_ids.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

__global__ void __launch_bounds__(kThreads) clear_kernel(const DistinctArgs a) {
  const int64_t id = thread_of_grid();
  if (id < a.n) a.place[id] = -1;
}

__global__ void __launch_bounds__(kThreads) mark_kernel(const DistinctArgs a) {
  const int64_t r = thread_of_grid();
  if (r >= a.n_ids) return;
  const int64_t id = a.ids[r];
  if (id >= 0 && id < a.n) a.place[id] = 0;
}

// How many threads of the block before this one are marked, and how many there are.
struct Rank {
  int before, all;
};

__device__ __forceinline__ Rank rank_in_block(bool marked) {
  __shared__ int counts[kWarps];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, marks = __ballot_sync(kAllLanes, marked);
  if (lane == 0) counts[warp] = __popc(marks);
  __syncthreads();
  Rank rank = {__popc(marks & ((1u << lane) - 1)), 0};
  for (unsigned w = 0; w < kWarps; ++w) {
    if (w < warp) rank.before += counts[w];
    rank.all += counts[w];
  }
  __syncthreads();
  return rank;
}

__global__ void __launch_bounds__(kThreads) count_kernel(const DistinctArgs a, int32_t* counts) {
  const int64_t id = thread_of_grid();
  const Rank rank = rank_in_block(id < a.n && a.place[id] >= 0);
  if (threadIdx.x == 0) counts[blockIdx.x] = rank.all;
}

__global__ void __launch_bounds__(kThreads) place_kernel(const DistinctArgs a, const int32_t* counts) {
  __shared__ int32_t sums[kThreads];
  int32_t sum = 0;
  for (unsigned block = threadIdx.x; block < blockIdx.x; block += kThreads) sum += counts[block];
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  const int64_t id = thread_of_grid(), start = sums[0];
  const bool occurs = id < a.n && a.place[id] >= 0;
  const Rank rank = rank_in_block(occurs);
  if (occurs) {
    a.place[id] = start + rank.before;
    a.distinct[start + rank.before] = id;
  }
  if (blockIdx.x + 1 == gridDim.x && threadIdx.x == 0) *a.count = start + rank.all;
}

__global__ void __launch_bounds__(kThreads) fill_kernel(const DistinctArgs a) {
  const int64_t i = thread_of_grid(), count = *a.count;
  if (i >= count && i < a.n_places) a.distinct[i] = count > 0 ? a.distinct[0] : 0;
}

}  // namespace

void distinct_ids(const DistinctArgs& args, const Stream& stream) {
  const auto blocks = [](int64_t n) { return dim3(n == 0 ? 1 : blocks_for(n, kThreads)); };
  const dim3 threads(kThreads);
  int32_t* counts = take<int32_t>(stream.memory, blocks(args.n).x);
  ANS_LAUNCH(clear_kernel, blocks(args.n), threads, 0, stream.stream, args);
  ANS_LAUNCH(mark_kernel, blocks(args.n_ids), threads, 0, stream.stream, args);
  ANS_LAUNCH(count_kernel, blocks(args.n), threads, 0, stream.stream, args, counts);
  ANS_LAUNCH(place_kernel, blocks(args.n), threads, 0, stream.stream, args, counts);
  ANS_LAUNCH(fill_kernel, blocks(args.n_places), threads, 0, stream.stream, args);
}

}  // namespace ans::cuda
