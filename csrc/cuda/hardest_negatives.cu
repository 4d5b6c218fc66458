// A team of lanes takes one (pair, negative to choose, hop) at a time: it keeps the pair's row in registers and goes
// through the candidates in their order. Neighbouring teams have the same candidates' next hops, which lie side by side.
#include "ops/hardest_negatives.h"

#include "common/hardest.h"
#include "cuda/team.h"

namespace ans::cuda {
namespace {

constexpr int kBlocks = 6;  // a multiprocessor

// The row of a pair and hop that a lane keeps, and where its candidates' rows are.
template <typename T>
struct Task {
  float u[kValues], gate[kValues];
  const int64_t* candidates;
  int64_t hop;
  float rest;
};

// Looks at `kCount` candidates, whose rows are all on their way before the first one is scored.
template <int kCount, bool kGated, typename R, typename T>
__device__ __forceinline__ void score(const HardestArgs<T>& a, const Task<T>& task, int64_t m, int lane,
                                      int dim, Hardest<float, Nothing>& hardest, bool& sound) {
  int64_t items[kCount];
  float n[kCount][kValues], gates[kCount][kValues], scores[kCount] = {};
#pragma unroll
  for (int c = 0; c < kCount; ++c) {
    items[c] = in_range(__ldg(task.candidates + m + c), a.n_items, sound);
    const int64_t at = (items[c] * a.n_hops + task.hop) * a.dim;
    R::load(a.item_hops + at, lane, dim, n[c]);
    if (kGated) R::load(a.item_gate + at, lane, dim, gates[c]);
  }
#pragma unroll
  for (int c = 0; c < kCount; ++c) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      scores[c] += kGated ? gated_element(task.u[i], n[c][i], gates[c][i], task.gate[i], task.rest) : task.u[i] * n[c][i];
    }
  }
  reduce<R::kTeamSize>(scores);
#pragma unroll
  for (int c = 0; c < kCount; ++c) take(hardest, scores[c], m + c, {});
}

template <typename T, typename R, bool kGated>
__global__ void __launch_bounds__(kThreads, kBlocks) hardest_kernel(const HardestArgs<T> a) {
  constexpr int kTeam = R::kTeamSize, kTeams = kThreads / kTeam;
  constexpr int kInFlight = kGated ? 2 : 4;  // candidates; as many bytes either way
  const int lane = static_cast<int>(threadIdx.x) % kTeam, dim = static_cast<int>(a.dim);
  const int64_t n_tasks = a.n_pairs * a.n_negatives * a.n_hops;
  const float rest = kGated ? static_cast<float>(value_of(a.rest)) : 0.0f;
  // All teams of a block go round equally often, since reduce() wants all lanes: those without a task repeat the last.
  for (int64_t first = blockIdx.x * static_cast<int64_t>(kTeams); first < n_tasks;
       first += static_cast<int64_t>(gridDim.x) * kTeams) {
    const int64_t mine = first + threadIdx.x / kTeam, index = mine < n_tasks ? mine : n_tasks - 1;
    const int64_t k = quotient(index, a.n_hops), pair = quotient(k, a.n_negatives);
    Task<T> task;
    task.rest = rest;
    task.candidates = a.candidates + k * a.n_candidates;
    task.hop = index - k * a.n_hops;
    const int64_t own = (pair * a.n_hops + task.hop) * a.dim;
    R::load(a.user_rows + own, lane, dim, task.u);
    if (kGated) R::load(a.pos_gate + own, lane, dim, task.gate);

    Hardest<float, Nothing> hardest = no_hardest(-INFINITY, a.n_candidates);
    bool sound = true;
    int64_t m = 0;
    for (; m + kInFlight <= a.n_candidates; m += kInFlight) {
      score<kInFlight, kGated, R>(a, task, m, lane, dim, hardest, sound);
    }
    for (; m < a.n_candidates; ++m) score<1, kGated, R>(a, task, m, lane, dim, hardest, sound);
    if (lane != 0 || mine >= n_tasks) continue;
    const int64_t at = hardest.id < a.n_candidates ? hardest.id : 0;  // the first where all scores are NaN
    a.hardest[index] = sound ? __ldg(task.candidates + at) : kNoItem;
  }
}

}  // namespace

template <typename T>
void hardest_negatives(const HardestArgs<T>& args, const Stream& stream) {
  const int64_t n_tasks = args.n_pairs * args.n_negatives * args.n_hops;
  if (n_tasks == 0) return;
  with_row<T>(args.dim, [&](auto row) {
    using R = decltype(row);
    constexpr int64_t teams = kThreads / R::kTeamSize;
    const dim3 blocks(grid_for(n_tasks, teams, kBlocks)), threads(kThreads);
    constexpr int shared = kTeamSharedBytes<R::kTeamSize>;
    if (args.item_gate == nullptr) {
      ANS_LAUNCH((hardest_kernel<T, R, false>), blocks, threads, shared, stream.stream, args);
    } else {
      ANS_LAUNCH((hardest_kernel<T, R, true>), blocks, threads, shared, stream.stream, args);
    }
  });
}

template void hardest_negatives<float>(const HardestArgs<float>&, const Stream&);
template void hardest_negatives<__nv_bfloat16>(const HardestArgs<__nv_bfloat16>&, const Stream&);
template void hardest_negatives<__half>(const HardestArgs<__half>&, const Stream&);

}  // namespace ans::cuda
