// Forward, a team of lanes takes some of a pair's candidates and keeps the pair's row in registers. Backward, a unit
// takes a pair; what its candidates' rows get is added atomically or, where sums shall have one order, by item afterwards.
#include "ops/candidate_scores.h"

#include "cuda/team.h"

namespace ans::cuda {
namespace {

constexpr int kBlocks = 6;    // a multiprocessor
constexpr int kInFlight = 4;  // candidates whose rows are all on their way before the first one is used
constexpr int kShare = 32;    // candidates of a task

template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, kBlocks) forward_kernel(const ScoresArgs<T> a, int64_t n_shares) {
  constexpr int kTeam = R::kTeamSize, kTeams = kThreads / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam, dim = static_cast<int>(a.dim);
  const int64_t n_tasks = a.n_pairs * n_shares, last = a.n_candidates - 1;
  // All teams of a block go round equally often, since reduce() wants all lanes: those without a task or a candidate
  // repeat the last.
  for (int64_t first = blockIdx.x * static_cast<int64_t>(kTeams); first < n_tasks;
       first += static_cast<int64_t>(gridDim.x) * kTeams) {
    const int64_t mine = first + threadIdx.x / kTeam, index = mine < n_tasks ? mine : n_tasks - 1;
    const int64_t pair = quotient(index, n_shares), begin = (index - pair * n_shares) * kShare;
    float u[kValues];
    R::load(a.user_rows + pair * a.dim, lane, dim, u);
    for (int64_t m = begin; m < begin + kShare && m - begin <= last; m += kInFlight) {
      float n[kInFlight][kValues], scores[kInFlight] = {};
      bool sound[kInFlight];
#pragma unroll
      for (int c = 0; c < kInFlight; ++c) {
        const int64_t at = m + c < last ? m + c : last;
        sound[c] = true;
        const int64_t item = in_range(__ldg(a.candidates + pair * a.n_candidates + at), a.n_items, sound[c]);
        R::load(a.item_rows + item * a.dim, lane, dim, n[c]);
      }
#pragma unroll
      for (int c = 0; c < kInFlight; ++c) {
#pragma unroll
        for (int i = 0; i < kValues; ++i) scores[c] += u[i] * n[c][i];
      }
      reduce<kTeam>(scores);
      if (lane != 0 || mine >= n_tasks) continue;
#pragma unroll
      for (int c = 0; c < kInFlight; ++c) {
        if (m + c <= last) a.scores[pair * a.n_candidates + m + c] = sound[c] ? scores[c] : NAN;
      }
    }
  }
}

template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, kBlocks) pair_kernel(const ScoresBackwardArgs<T> b) {
  using F = typename R::Float;
  using U = Unit<R::kTeamSize>;
  const ScoresArgs<T>& a = b.inputs;
  const int lane = U::lane(), team = U::team(), dim = static_cast<int>(a.dim);
  for (int64_t pair = U::first_task(); pair < a.n_pairs; pair += U::stride()) {
    float u[kValues], grad[kValues] = {};
    R::load(a.user_rows + pair * a.dim, lane, dim, u);
    for (int64_t m = team; m < a.n_candidates; m += U::kTeams) {
      const int64_t entry = pair * a.n_candidates + m;
      bool sound = true;
      const int64_t item = in_range(__ldg(a.candidates + entry), a.n_items, sound);
      if (!sound) continue;
      const float weight = __ldg(b.grad + entry);
      float n[kValues], grad_n[kValues];
      R::load(a.item_rows + item * a.dim, lane, dim, n);
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        grad[i] += weight * n[i];
        grad_n[i] = weight * u[i];
      }
      if (b.sorted.ids == nullptr) F::template write<F::Write::kAtomic>(b.grad_items + item * a.dim, lane, dim, grad_n);
    }
    merge_teams<R::kTeamSize>(grad);
    if (team == 0) F::template write<F::Write::kStore>(b.grad_users + pair * a.dim, lane, dim, grad);
  }
}

// The first team of an item's entries in `sorted` goes through them all.
template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, kBlocks) item_kernel(const ScoresBackwardArgs<T> b) {
  using F = typename R::Float;
  constexpr int kTeam = R::kTeamSize;
  const ScoresArgs<T>& a = b.inputs;
  const int lane = static_cast<int>(threadIdx.x) % kTeam, dim = static_cast<int>(a.dim);
  const int64_t n_entries = a.n_pairs * a.n_candidates;
  const int64_t first = blockIdx.x * static_cast<int64_t>(kThreads / kTeam) + threadIdx.x / kTeam;
  if (first >= n_entries) return;
  const int64_t item = __ldg(b.sorted.ids + first);
  if (item < 0 || item >= a.n_items || (first > 0 && __ldg(b.sorted.ids + first - 1) == item)) return;
  float grad[kValues] = {};
  for (int64_t at = first; at < n_entries && __ldg(b.sorted.ids + at) == item; ++at) {
    const int64_t entry = __ldg(b.sorted.order + at);
    const float weight = __ldg(b.grad + entry);
    float u[kValues];
    R::load(a.user_rows + quotient(entry, a.n_candidates) * a.dim, lane, dim, u);
#pragma unroll
    for (int i = 0; i < kValues; ++i) grad[i] += weight * u[i];
  }
  F::template write<F::Write::kStore>(b.grad_items + item * a.dim, lane, dim, grad);
}

}  // namespace

template <typename T>
void candidate_scores(const ScoresArgs<T>& args, const Stream& stream) {
  with_row<T>(args.dim, [&](auto row) {
    using R = decltype(row);
    constexpr int64_t teams = kThreads / R::kTeamSize;
    const int64_t n_shares = blocks_for(args.n_candidates, kShare);
    const dim3 blocks(grid_for(args.n_pairs * n_shares, teams, kBlocks)), threads(kThreads);
    ANS_LAUNCH((forward_kernel<T, R>), blocks, threads, kTeamSharedBytes<R::kTeamSize>, stream.stream, args, n_shares);
  });
}

template <typename T>
void candidate_scores_backward(const ScoresBackwardArgs<T>& args, const Stream& stream) {
  const ScoresArgs<T>& a = args.inputs;
  const int64_t n_entries = a.n_pairs * a.n_candidates;
  clear(args.grad_items, a.n_items * a.dim, stream.stream);
  if (a.n_pairs == 0) return;
  with_row<T>(a.dim, [&](auto row) {
    using R = decltype(row);
    constexpr int64_t teams = kThreads / R::kTeamSize;
    const dim3 threads(kThreads);
    ANS_LAUNCH((pair_kernel<T, R>), dim3(grid_for(a.n_pairs, Unit<R::kTeamSize>::kUnits, kBlocks)), threads, 0,
               stream.stream, args);
    if (args.sorted.ids != nullptr && n_entries > 0) {
      ANS_LAUNCH((item_kernel<T, R>), dim3(blocks_for(n_entries, teams)), threads, 0, stream.stream, args);
    }
  });
}

#define ANS_INSTANTIATE(T)                                                   \
  template void candidate_scores<T>(const ScoresArgs<T>&, const Stream&);    \
  template void candidate_scores_backward<T>(const ScoresBackwardArgs<T>&, const Stream&);
ANS_INSTANTIATE(float)
ANS_INSTANTIATE(__nv_bfloat16)
ANS_INSTANTIATE(__half)

}  // namespace ans::cuda
