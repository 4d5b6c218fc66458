// A team of lanes takes a row.
#include "row_norms.h"

#include "cuda/team.h"

namespace ans::cuda {
namespace {

template <typename T, typename R>
__global__ void __launch_bounds__(kThreads) norms_kernel(const RowNormsArgs<T> a) {
  constexpr int kTeam = R::kTeamSize, kTeams = kThreads / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  // All teams of a block come to reduce(): those without a row repeat the last.
  const int64_t mine = blockIdx.x * static_cast<int64_t>(kTeams) + threadIdx.x / kTeam;
  const int64_t row = mine < a.n_rows ? mine : a.n_rows - 1;
  float x[kValues], sum[1] = {};
  R::load(a.hops + row * a.dim, lane, static_cast<int>(a.dim), x);
#pragma unroll
  for (int i = 0; i < kValues; ++i) sum[0] += x[i] * x[i];
  reduce<kTeam>(sum);
  if (lane == 0) a.out[row] = sqrtf(sum[0]);
}

}  // namespace

template <typename T>
void row_norms(const RowNormsArgs<T>& a, const Stream& stream) {
  with_row<T>(a.dim, [&](auto row) {
    using R = decltype(row);
    constexpr int64_t teams = kThreads / R::kTeamSize;
    ANS_LAUNCH((norms_kernel<T, R>), dim3(blocks_for(a.n_rows, teams)), dim3(kThreads),
               kTeamSharedBytes<R::kTeamSize>, stream.stream, a);
  });
}

template void row_norms<float>(const RowNormsArgs<float>&, const Stream&);
template void row_norms<__nv_bfloat16>(const RowNormsArgs<__nv_bfloat16>&, const Stream&);
template void row_norms<__half>(const RowNormsArgs<__half>&, const Stream&);

}  // namespace ans::cuda
