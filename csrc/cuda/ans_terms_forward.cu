// One pass over the negatives: a unit keeps its pair's three rows in registers, its teams read the negatives' two, and
// nothing but a few scalars a row is written.
#include "common/hardest.h"
#include "cuda/ans_team.h"

namespace ans::cuda {
namespace {

template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, 4) forward_kernel(const AnsForwardArgs<T> a, float4* hop_terms) {
  constexpr int kTeam = R::kTeamSize;
  using U = Unit<kTeam>;
  const int lane = U::lane(), team = U::team(), dim = static_cast<int>(a.dim);
  const uint64_t seed = value_of(a.seed);
  const float bias = to_float(*a.margin_bias);
  float w[kValues];
  R::load(a.margin_weight, lane, dim, w);

  for (int64_t index = U::first_task(); index < a.n_pairs * a.n_hops; index += U::stride()) {
    const Task task = task_at(a, index);
    const PairRows pair = load_pair<R>(a, task, lane, dim);
    float* saved = a.saved + index * 3 * a.n_negatives;
    Hardest<float, float> hardest = no_hardest(-INFINITY, a.n_negatives, NAN);  // with its u·n', after the noise
    LogSum contrasts;
    float norms[2] = {};  // distances, orthogonalities
    bool sound = task.sound;

    // The next negatives' rows are on their way while these are worked on.
    NegativeRows next;
    if (task.count > 0) next = load_negative<R>(a, task, team < task.count ? team : 0, lane, dim);
    for (int64_t first = 0; first < task.count; first += U::kTeams) {
      const int64_t m = first + team, next_m = m + U::kTeams;
      const NegativeRows negative = next;
      if (first + U::kTeams < task.count) next = load_negative<R>(a, task, next_m < task.count ? next_m : 0, lane, dim);
      const RowSums<float> sums = forward_row<R>(pair, negative, w, seed, noise_row(a, task, m), lane, dim);
      if (m >= task.count) continue;
      const RowScalars<float> scalars = row_scalars(sums, bias, a.eps, a.noise_scale);
      const float distance = sqrtf(sums.distance), orthogonality = sqrtf(sums.orthogonality);
      take(hardest, scalars.choice, m, sums.score + scalars.gain);
      contrasts.add(sums.contrast);
      norms[0] += distance;
      norms[1] += orthogonality;
      sound = sound && negative.sound;
      if (lane == 0) {
        saved[m] = sums.contrast;
        saved[a.n_negatives + m] = distance;
        saved[2 * a.n_negatives + m] = orthogonality;
      }
    }
    for (int64_t m = task.count + threadIdx.x % U::kSize; m < a.n_negatives; m += U::kSize) {
      saved[m] = saved[a.n_negatives + m] = saved[2 * a.n_negatives + m] = 0.0f;
    }

    const float own_score = dot<R>(pair.u, pair.p);
    contrasts.merge_lanes<kTeam>();
    merge_teams<kTeam>(norms);
    sound = __all_sync(kAllLanes, sound);
#pragma unroll
    for (int offset = kTeam; offset < kWarp; offset *= 2) {
      const float choice = __shfl_xor_sync(kAllLanes, hardest.score, offset);
      const float score = __shfl_xor_sync(kAllLanes, hardest.payload, offset);
      take(hardest, choice, __shfl_xor_sync(kAllLanes, hardest.id, offset), score);
    }
    if (U::leads()) {
      const float count = static_cast<float>(task.count), hops = static_cast<float>(a.n_hops);
      a.selected[index] = hardest.id < a.n_negatives ? hardest.id : 0;
      hop_terms[index] = sound ? make_float4(own_score - hardest.payload, contrasts.value() / hops,
                                             norms[0] / (count * hops), norms[1] / count)
                               : make_float4(NAN, NAN, NAN, NAN);
    }
  }
}

constexpr int kFinishThreads = 512;

// Each pair's difference, and the means over pairs, by one block, in an order that does not change.
__global__ void __launch_bounds__(kFinishThreads)
    mean_kernel(const float4* hop_terms, int64_t n_pairs, int64_t n_hops, float* terms, float* differences) {
  const int thread = static_cast<int>(threadIdx.x);
  double sums[4] = {};
  for (int64_t pair = thread; pair < n_pairs; pair += kFinishThreads) {
    float difference = 0.0f;
    for (int64_t hop = 0; hop < n_hops; ++hop) {
      const float4 terms_of_hop = __ldg(hop_terms + pair * n_hops + hop);
      difference += terms_of_hop.x;
      sums[1] += terms_of_hop.y;
      sums[2] += terms_of_hop.z;
      sums[3] += terms_of_hop.w;
    }
    differences[pair] = difference;
    sums[0] += bpr_of(difference).value;
  }
  double* shared = dynamic_shared<double>();  // [4, kFinishThreads]
  for (int term = 0; term < 4; ++term) shared[term * kFinishThreads + thread] = sums[term];
  __syncthreads();
  for (int half = kFinishThreads / 2; half > 0; half /= 2) {
    if (thread < half) {
      for (int term = 0; term < 4; ++term) {
        shared[term * kFinishThreads + thread] += shared[term * kFinishThreads + thread + half];
      }
    }
    __syncthreads();
  }
  if (thread < 4) {
    terms[thread] = n_pairs == 0 ? 0.0f : static_cast<float>(shared[thread * kFinishThreads] / static_cast<double>(n_pairs));
  }
}

}  // namespace

template <typename T>
void ans_terms_forward(const AnsForwardArgs<T>& args, const Stream& stream) {
  const int64_t n_tasks = args.n_pairs * args.n_hops;
  float4* const hop_terms = take<float4>(stream.memory, n_tasks);
  if (n_tasks > 0) {
    with_row<T>(args.dim, [&](auto row) {
      using R = decltype(row);
      using U = Unit<R::kTeamSize>;
      const unsigned blocks = grid_for(n_tasks, U::kUnits, 4);
      ANS_LAUNCH((forward_kernel<T, R>), dim3(blocks), dim3(kThreads), kTeamSharedBytes<R::kTeamSize>, stream.stream, args,
                 hop_terms);
    });
  }
  ANS_LAUNCH(mean_kernel, dim3(1), dim3(kFinishThreads), 4 * kFinishThreads * sizeof(double), stream.stream, hop_terms,
             args.n_pairs, args.n_hops, args.terms, args.differences);
}

template void ans_terms_forward<float>(const AnsForwardArgs<float>&, const Stream&);
template void ans_terms_forward<__nv_bfloat16>(const AnsForwardArgs<__nv_bfloat16>&, const Stream&);
template void ans_terms_forward<__half>(const AnsForwardArgs<__half>&, const Stream&);

}  // namespace ans::cuda
