// How threads share the work of ans_terms: a unit takes one (pair, hop) at a time; its teams of lanes take the pair's
// negatives in turn.
//
// A unit's threads run every loop the same number of times, so that warp collectives name all lanes and barriers meet
// all threads.
#pragma once

#include "common/ans_row.h"
#include "common/philox.h"
#include "cuda/team.h"
#include "ops/ans_terms.h"

namespace ans::cuda {

// One (pair, hop), and whether its ids and its count are in range. Those out of range are replaced by 0 (its terms
// become NaN).
struct Task {
  int64_t pair, hop, user, positive, count;
  bool sound;
};

template <typename T>
__device__ __forceinline__ Task task_at(const AnsInputs<T>& a, int64_t index) {
  Task task;
  task.pair = quotient(index, a.n_hops);
  task.hop = index - task.pair * a.n_hops;
  task.sound = true;
  task.user = in_range(a.users[task.pair], a.n_users, task.sound);
  task.positive = in_range(a.pos_items[task.pair], a.n_items, task.sound);
  task.count = a.neg_count == nullptr ? a.n_negatives : a.neg_count[task.pair];
  if (task.count < 1 || task.count > a.n_negatives) {
    task.sound = false;
    task.count = 0;
  }
  return task;
}

// Where a row of a [?, H, D] table begins.
template <typename T>
__device__ __forceinline__ int64_t offset_of(const AnsInputs<T>& a, int64_t id, int64_t hop) {
  return (id * a.n_hops + hop) * a.dim;
}

template <typename T>
__device__ __forceinline__ uint64_t noise_row(const AnsInputs<T>& a, const Task& task, int64_t m) {
  return static_cast<uint64_t>(((a.first_pair + task.pair) * a.n_negatives + m) * a.n_hops + task.hop);
}

// The pair's rows that a lane keeps while it goes through the negatives.
struct PairRows {
  float u[kValues], p[kValues], gate[kValues];
};

template <typename R, typename T>
__device__ __forceinline__ PairRows load_pair(const AnsInputs<T>& a, const Task& task, int lane, int dim) {
  PairRows rows;
  R::load(a.user_hops + offset_of(a, task.user, task.hop), lane, dim, rows.u);
  R::load(a.item_hops + offset_of(a, task.positive, task.hop), lane, dim, rows.p);
  R::load(a.user_gate + offset_of(a, task.pair, task.hop), lane, dim, rows.gate);
  return rows;
}

// A negative's rows. An id that is out of range reads item 0.
struct NegativeRows {
  float n[kValues], gate[kValues];
  int64_t item;
  bool sound;
};

template <typename R, typename T>
__device__ __forceinline__ NegativeRows load_negative(const AnsInputs<T>& a, const Task& task, int64_t m, int lane,
                                                      int dim) {
  NegativeRows rows;
  rows.sound = true;
  rows.item = in_range(__ldg(a.neg_items + task.pair * a.n_negatives + m), a.n_items, rows.sound);
  R::load(a.item_hops + offset_of(a, rows.item, task.hop), lane, dim, rows.n);
  R::load(a.item_gate + offset_of(a, rows.item, task.hop), lane, dim, rows.gate);
  return rows;
}

// The sums of a negative's row, over the team.
template <typename R>
__device__ __forceinline__ RowSums<float> forward_row(const PairRows& pair, const NegativeRows& negative,
                                                      const float (&w)[kValues], uint64_t seed, uint64_t row, int lane,
                                                      int dim) {
  float sums[7] = {};
#pragma unroll
  for (int run = 0; run < kRuns; ++run) {
    const int column = R::start(lane, run);
    if (!R::has(column, dim)) continue;
    const PhiloxBlock draw = philox(seed, row, static_cast<uint32_t>(column / kRun), kNoiseStream);
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      if (!R::has(column + j, dim)) continue;
      const int i = run * kRun + j;
      const RowSums<float> e = forward_element(pair.u[i], pair.p[i], negative.n[i], pair.gate[i], negative.gate[i],
                                               w[i], unit_float(draw.word[j]));
      sums[0] += e.score;
      sums[1] += e.contrast;
      sums[2] += e.distance;
      sums[3] += e.orthogonality;
      sums[4] += e.margin;
      sums[5] += e.noise;
      sums[6] += e.noise_square;
    }
  }
  reduce<R::kTeamSize>(sums);
  return {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6]};
}

template <typename R>
__device__ __forceinline__ float dot(const float (&a)[kValues], const float (&b)[kValues]) {
  float sum[1] = {};
#pragma unroll
  for (int i = 0; i < kValues; ++i) sum[0] += a[i] * b[i];
  reduce<R::kTeamSize>(sum);
  return sum[0];
}

// log(1 + Σ e^z) over contrasts that come one at a time or in parts.
struct LogSum {
  float largest = 0.0f, sum = 0.0f;  // of 0 and all z so far; Σ e^(z − largest)

  __device__ __forceinline__ void add(float z) {
    const float next = z > largest ? z : largest;
    sum = sum * fast_exp(largest - next) + fast_exp(z - next);
    largest = next;
  }
  __device__ __forceinline__ void merge(float other_largest, float other_sum) {
    const float next = other_largest > largest ? other_largest : largest;
    sum = sum * fast_exp(largest - next) + other_sum * fast_exp(other_largest - next);
    largest = next;
  }
  template <int kFrom>
  __device__ __forceinline__ void merge_lanes() {
#pragma unroll
    for (int offset = kFrom; offset < kWarp; offset *= 2) {
      const float other_largest = __shfl_xor_sync(kAllLanes, largest, offset);
      merge(other_largest, __shfl_xor_sync(kAllLanes, sum, offset));
    }
  }
  __device__ __forceinline__ float value() const { return log_one_plus_sum(largest, sum); }
};

}  // namespace ans::cuda
