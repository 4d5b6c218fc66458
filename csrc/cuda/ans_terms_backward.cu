// The backward pass recomputes the gates and, for the selected negatives alone, the noise. Two paths share the kernels:
// with atomics, one pass gives everything; the deterministic one lets pairs keep what their user and positive get and
// adds it up by id, and goes through the negatives a second time, by item.
#include "cuda/ans_team.h"
#include "cuda/sums.h"

namespace ans::cuda {
namespace {

// The arguments, and scratch.
template <typename T>
struct Backward : AnsBackwardArgs<T> {
  AnsGradients<float> sums = {};  // of `grad`
  float4* hop_sums = nullptr;  // [B, H]
  float* margins = nullptr;    // [units, D + 1]: each one's share of the margin layer's gradients
  // Of the deterministic path.
  float4* hop_weights = nullptr;                     // [B, H]
  float *pair_user = nullptr, *pair_item = nullptr;  // [B, H, D]: what pairs give their user's and their positive's rows
};

template <typename T>
__device__ __forceinline__ bool is_deterministic(const Backward<T>& a) { return a.hop_weights != nullptr; }

// What the selected negative of each (pair, hop) adds up to: (u·p − u·n', margin, noise, noise_square). One team each.
template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, 4) selected_kernel(const Backward<T> a) {
  constexpr int kTeam = R::kTeamSize, kTeams = kThreads / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam, dim = static_cast<int>(a.dim);
  const int64_t n_tasks = a.n_pairs * a.n_hops;
  const uint64_t seed = value_of(a.seed);
  const float bias = to_float(*a.margin_bias);
  float w[kValues];
  R::load(a.margin_weight, lane, dim, w);
  for (int64_t first = blockIdx.x * static_cast<int64_t>(kTeams); first < n_tasks;
       first += static_cast<int64_t>(gridDim.x) * kTeams) {
    const int64_t mine = first + threadIdx.x / kTeam, index = mine < n_tasks ? mine : n_tasks - 1;
    const Task task = task_at(a, index);
    bool sound = task.sound;
    const int64_t m = in_range(a.selected[index], a.n_negatives, sound);
    const PairRows pair = load_pair<R>(a, task, lane, dim);
    const NegativeRows negative = load_negative<R>(a, task, m, lane, dim);
    const RowSums<float> sums = forward_row<R>(pair, negative, w, seed, noise_row(a, task, m), lane, dim);
    const float gain = row_scalars(sums, bias, a.eps, a.noise_scale).gain;
    const float difference = dot<R>(pair.u, pair.p) - sums.score - gain;
    if (lane == 0 && mine < n_tasks) {
      a.hop_sums[index] = make_float4(sound && negative.sound ? difference : NAN, sums.margin, sums.noise, sums.noise_square);
    }
  }
}

// d loss / d (…) for all negatives of one (pair, hop).
struct HopWeights {
  float sns;       // of contrasts: × e^(contrast − log_sum)
  float log_sum;   // log(1 + Σ e^contrast)
  float distance, orthogonality;
  SelectedWeights<float> chosen;
};

// The weights of a (pair, hop) that do not depend on other hops' selected negatives, nor on who is selected.
template <typename T>
__device__ __forceinline__ HopWeights weights_of_count(const Backward<T>& a, const Task& task) {
  const float pairs = static_cast<float>(a.n_pairs), hops = static_cast<float>(a.n_hops);
  const float each = 1.0f / (pairs * static_cast<float>(task.count));
  HopWeights weights = {};
  weights.sns = __ldg(a.grad_terms + 1) / (pairs * hops);
  weights.distance = __ldg(a.grad_terms + 2) * each / hops;
  weights.orthogonality = __ldg(a.grad_terms + 3) * each;
  return weights;
}

// All lanes of a warp call this for the same task.
template <typename T>
__device__ __forceinline__ HopWeights weights_of(const Backward<T>& a, const Task& task, int64_t index) {
  HopWeights weights = weights_of_count(a, task);
  float difference = 0.0f;
  for (int64_t hop = 0; hop < a.n_hops; ++hop) difference += __ldg(&a.hop_sums[task.pair * a.n_hops + hop].x);
  const float4 sums = __ldg(a.hop_sums + index);
  const float slope = bpr_of(difference).slope * __ldg(a.grad_terms) / static_cast<float>(a.n_pairs) +
                      (a.grad_differences == nullptr ? 0.0f : __ldg(a.grad_differences + task.pair));
  weights.chosen = selected_weights(RowSums<float>{0, 0, 0, 0, sums.y, sums.z, sums.w}, to_float(*a.margin_bias),
                                    a.noise_scale, -slope);
  LogSum contrasts;
  for (int64_t m = threadIdx.x % kWarp; m < task.count; m += kWarp) {
    contrasts.add(__ldg(a.saved + index * 3 * a.n_negatives + m));
  }
  contrasts.merge_lanes<1>();
  weights.log_sum = contrasts.value();
  return weights;
}

// The weights of one negative, from what the forward pass saved of it.
template <typename T>
__device__ __forceinline__ RowWeights<float> row_weights(const Backward<T>& a, const HopWeights& weights,
                                                         int64_t index, int64_t m) {
  const float* saved = a.saved + index * 3 * a.n_negatives + m;
  return {weights.sns * fast_exp(__ldg(saved) - weights.log_sum),
          over_norm(weights.distance, __ldg(saved + a.n_negatives)),
          over_norm(weights.orthogonality, __ldg(saved + 2 * a.n_negatives))};
}

// Gradients of the pair's rows that a lane sums over the negatives.
struct PairGradient {
  float u[kValues], p[kValues], gate[kValues];
};

// What every negative gives: to the pair's gradients and, unless the deterministic path does that later, to the item's.
template <typename T, typename R>
__device__ __forceinline__ void backward_row(const Backward<T>& a, const Task& task,
                                             const RowWeights<float>& weights, const PairRows& pair,
                                             const NegativeRows& negative, int lane, int dim, PairGradient& grad) {
  using F = typename R::Float;
  const int64_t at = offset_of(a, negative.item, task.hop);
#pragma unroll
  for (int run = 0; run < kRuns; ++run) {
    const int column = R::start(lane, run);
    if (!R::has(column, dim)) continue;
    float grad_n[kRun] = {}, grad_gate[kRun] = {};
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      if (!R::has(column + j, dim)) continue;
      const int i = run * kRun + j;
      const float gate = sigmoid(negative.gate[i] * pair.gate[i]);
      const RowGradient<float> e = backward_element(pair.u[i], pair.p[i], negative.n[i], gate, weights);
      grad.u[i] += e.u;
      grad.p[i] += e.p;
      grad.gate[i] += e.gates * negative.gate[i];
      grad_n[j] = e.n;
      grad_gate[j] = e.gates * pair.gate[i];
    }
    if (!is_deterministic(a)) {
      F::template write_run<F::Write::kAtomic>(a.sums.item_hops + at, column, dim, grad_n);
      F::template write_run<F::Write::kAtomic>(a.sums.item_gate + at, column, dim, grad_gate);
    }
  }
}

// What the chosen one gives beyond that, and to the margin layer. A lane always adds to its own columns of `margin`.
template <typename T, typename R>
__device__ __forceinline__ void chosen_row(const Backward<T>& a, const Task& task,
                                           const SelectedWeights<float>& weights, const PairRows& pair,
                                           const NegativeRows& negative, uint64_t seed, int64_t m, int lane, int dim,
                                           PairGradient& grad, float* margin) {
  using F = typename R::Float;
  const int64_t at = offset_of(a, negative.item, task.hop);
#pragma unroll
  for (int run = 0; run < kRuns; ++run) {
    const int column = R::start(lane, run);
    if (!R::has(column, dim)) continue;
    const PhiloxBlock draw =
        philox(seed, noise_row(a, task, m), static_cast<uint32_t>(column / kRun), kNoiseStream);
    float grad_n[kRun] = {}, grad_gate[kRun] = {};
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      if (!R::has(column + j, dim)) continue;
      const int i = run * kRun + j;
      const float w = to_float(a.margin_weight[column + j]), gate = sigmoid(negative.gate[i] * pair.gate[i]);
      const float noise = noise_element(pair.p[i], negative.n[i], gate, unit_float(draw.word[j]));
      const SelectedGradient<float> e =
          selected_element(pair.u[i], pair.p[i], negative.n[i], w, gate, noise, weights);
      // The pair's own score is u·p, with the opposite weight of u·n'.
      grad.u[i] += e.u - weights.score * pair.p[i];
      grad.p[i] += e.p - weights.score * pair.u[i];
      grad.gate[i] += e.gates * negative.gate[i];
      grad_n[j] = e.n;
      grad_gate[j] = e.gates * pair.gate[i];
      margin[column + j] += e.w;
    }
    if (!is_deterministic(a)) {
      F::template write_run<F::Write::kAtomic>(a.sums.item_hops + at, column, dim, grad_n);
      F::template write_run<F::Write::kAtomic>(a.sums.item_gate + at, column, dim, grad_gate);
    }
  }
  if (lane == 0) margin[dim] += weights.margin;
}

// Orders a unit's writes to shared memory before its other threads' reads and writes.
template <int kTeam>
__device__ __forceinline__ void sync_unit() {
  if (kTeam > kWarp) __syncthreads();
  else __syncwarp();
}

// Blocks a multiprocessor: four (128 registers a thread) where that spills nothing, else three.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
template <typename R>
constexpr int kBackwardBlocks = 3;
#else
template <typename R>
constexpr int kBackwardBlocks = R::kIsFull && R::kTeamSize < kWarp ? 4 : 3;
#endif

template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, kBackwardBlocks<R>) backward_kernel(const Backward<T> a) {
  using F = typename R::Float;
  using U = Unit<R::kTeamSize>;
  const int lane = U::lane(), team = U::team(), dim = static_cast<int>(a.dim);
  const uint64_t seed = value_of(a.seed);
  // The unit's share of the margin layer's gradient: its weight, then its bias.
  float* margin = dynamic_shared<float>() + static_cast<int>(threadIdx.x) / U::kSize * (dim + 1);
  for (int i = static_cast<int>(threadIdx.x) % U::kSize; i <= dim; i += U::kSize) margin[i] = 0.0f;
  sync_unit<R::kTeamSize>();

  for (int64_t index = U::first_task(); index < a.n_pairs * a.n_hops; index += U::stride()) {
    const Task task = task_at(a, index);
    const PairRows pair = load_pair<R>(a, task, lane, dim);
    const HopWeights weights = weights_of(a, task, index);
    PairGradient grad = {};
    for (int64_t m = team; m < task.count; m += U::kTeams) {
      const NegativeRows negative = load_negative<R>(a, task, m, lane, dim);
      if (!task.sound || !negative.sound) continue;
      backward_row<T, R>(a, task, row_weights(a, weights, index, m), pair, negative, lane, dim, grad);
    }
    if (team == 0 && task.sound) {
      bool sound = true;
      const int64_t m = in_range(a.selected[index], task.count, sound);
      const NegativeRows negative = load_negative<R>(a, task, m, lane, dim);
      if (sound && negative.sound) {
        chosen_row<T, R>(a, task, weights.chosen, pair, negative, seed, m, lane, dim, grad, margin);
      }
    }

    merge_teams<R::kTeamSize>(grad.u);
    merge_teams<R::kTeamSize>(grad.p);
    merge_teams<R::kTeamSize>(grad.gate);
    if (team == 0) {
      const int64_t own = offset_of(a, task.pair, task.hop);
      F::template write<F::Write::kStore>(a.sums.user_gate + own, lane, dim, grad.gate);
      if (is_deterministic(a)) {
        F::template write<F::Write::kStore>(a.pair_user + own, lane, dim, grad.u);
        F::template write<F::Write::kStore>(a.pair_item + own, lane, dim, grad.p);
      } else {
        F::template write<F::Write::kAtomic>(a.sums.user_hops + offset_of(a, task.user, task.hop), lane, dim, grad.u);
        F::template write<F::Write::kAtomic>(a.sums.item_hops + offset_of(a, task.positive, task.hop), lane, dim, grad.p);
      }
    }
    if (is_deterministic(a) && U::leads()) {
      a.hop_weights[index] = make_float4(weights.log_sum, weights.chosen.score, weights.chosen.margin, 0.0f);
    }
  }

  sync_unit<R::kTeamSize>();
  float* margins = a.margins + U::first_task() * (a.dim + 1);
  for (int i = static_cast<int>(threadIdx.x) % U::kSize; i <= dim; i += U::kSize) margins[i] = margin[i];
}

// The deterministic path's second pass: the first team of an item's entries in sorted_neg_items goes through them all.
template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, 4) item_kernel(const Backward<T> a) {
  using F = typename R::Float;
  constexpr int kTeam = R::kTeamSize;
  const int lane = static_cast<int>(threadIdx.x) % kTeam, dim = static_cast<int>(a.dim);
  const int64_t n_entries = a.n_pairs * a.n_negatives;
  const int64_t index = blockIdx.x * static_cast<int64_t>(kThreads / kTeam) + threadIdx.x / kTeam;
  const int64_t first = index / a.n_hops, hop = index % a.n_hops;
  if (first >= n_entries) return;
  const int64_t item = __ldg(a.sorted_neg_items.ids + first);
  if (item < 0 || item >= a.n_items || (first > 0 && __ldg(a.sorted_neg_items.ids + first - 1) == item)) return;

  const int64_t at = offset_of(a, item, hop);
  float w[kValues], n[kValues], item_gate[kValues], grad_n[kValues] = {}, grad_gate[kValues] = {};
  R::load(a.margin_weight, lane, dim, w);
  R::load(a.item_hops + at, lane, dim, n);
  R::load(a.item_gate + at, lane, dim, item_gate);
  for (int64_t entry = first; entry < n_entries && __ldg(a.sorted_neg_items.ids + entry) == item; ++entry) {
    const int64_t order = __ldg(a.sorted_neg_items.order + entry), m = order % a.n_negatives;
    const int64_t task_index = order / a.n_negatives * a.n_hops + hop;
    const Task task = task_at(a, task_index);
    if (!task.sound || m >= task.count) continue;
    const PairRows pair = load_pair<R>(a, task, lane, dim);
    HopWeights weights = weights_of_count(a, task);
    const float4 kept = __ldg(a.hop_weights + task_index);
    weights.log_sum = kept.x;
    weights.chosen = {kept.y, kept.z, 0.0f};
    const RowWeights<float> row = row_weights(a, weights, task_index, m);
    const bool chosen = __ldg(a.selected + task_index) == m;
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const float gate = sigmoid(item_gate[i] * pair.gate[i]);
      const RowGradient<float> e = backward_element(pair.u[i], pair.p[i], n[i], gate, row);
      float gates = e.gates;
      grad_n[i] += e.n;
      if (chosen) {
        const SelectedGradient<float> s =
            selected_element(pair.u[i], pair.p[i], n[i], w[i], gate, 0.0f, weights.chosen);
        grad_n[i] += s.n;
        gates += s.gates;
      }
      grad_gate[i] += gates * pair.gate[i];
    }
  }
  F::template write<F::Write::kStore>(a.sums.item_hops + at, lane, dim, grad_n);
  F::template write<F::Write::kStore>(a.sums.item_gate + at, lane, dim, grad_gate);
}

// to[id] += Σ rows[order[i]] over the i of sorted that hold id, in their order. One warp for the first of each id.
__global__ void __launch_bounds__(kThreads) add_rows_kernel(const float* rows, const int64_t* sorted, const int64_t* order,
                                                            int64_t n_rows, int64_t n_ids, int64_t width, float* to) {
  const int64_t first = blockIdx.x * static_cast<int64_t>(kWarps) + threadIdx.x / kWarp;
  if (first >= n_rows) return;
  const int64_t id = __ldg(sorted + first);
  if (id < 0 || id >= n_ids || (first > 0 && __ldg(sorted + first - 1) == id)) return;
  for (int64_t column = threadIdx.x % kWarp; column < width; column += kWarp) {
    float sum = to[id * width + column];
    for (int64_t i = first; i < n_rows && __ldg(sorted + i) == id; ++i) sum += __ldg(rows + __ldg(order + i) * width + column);
    to[id * width + column] = sum;
  }
}

// Sums of the columns of margins [n_units, dim + 1]: 32 columns a block, 32 threads a column.
__global__ void __launch_bounds__(kWarp * kWarp)
    margin_kernel(const float* margins, int64_t n_units, int64_t dim, float* grad_weight, float* grad_bias) {
  const int64_t column = blockIdx.x * static_cast<int64_t>(kWarp) + threadIdx.x;
  float sum = 0.0f;
  if (column <= dim) {
    for (int64_t unit = threadIdx.y; unit < n_units; unit += kWarp) sum += __ldg(margins + unit * (dim + 1) + column);
  }
  float* shared = dynamic_shared<float>();  // [32, 33]
  shared[threadIdx.y * (kWarp + 1) + threadIdx.x] = sum;
  __syncthreads();
  // Warp y adds up column y.
  sum = shared[threadIdx.x * (kWarp + 1) + threadIdx.y];
  for (int offset = kWarp / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
  const int64_t mine = blockIdx.x * static_cast<int64_t>(kWarp) + threadIdx.y;
  if (threadIdx.x == 0 && mine < dim) grad_weight[mine] = sum;
  if (threadIdx.x == 0 && mine == dim) *grad_bias = sum;
}

template <typename R>
unsigned backward_blocks(int64_t n_tasks) {
  using U = Unit<R::kTeamSize>;
  return grid_for(n_tasks, U::kUnits, kBackwardBlocks<R>);
}

// to[id] += Σ rows[i] over the i whose id it is.
void add_rows(const float* rows, const SortedIds& sorted, int64_t n_rows, int64_t n_ids, int64_t width, float* to,
              cudaStream_t stream) {
  ANS_LAUNCH(add_rows_kernel, dim3(blocks_for(n_rows, kWarps)), dim3(kThreads), 0, stream, rows, sorted.ids,
             sorted.order, n_rows, n_ids, width, to);
}

template <typename T, typename R>
void launch(Backward<T> work, const Stream& stream) {
  using U = Unit<R::kTeamSize>;
  constexpr int64_t teams = kThreads / R::kTeamSize;
  const int64_t n_tasks = work.n_pairs * work.n_hops, n_entries = work.n_pairs * work.n_negatives, dim = work.dim;
  const unsigned blocks = backward_blocks<R>(n_tasks);
  const int64_t units = int64_t{blocks} * U::kUnits;
  work.margins = take<float>(stream.memory, units * (dim + 1));
  ANS_LAUNCH((selected_kernel<T, R>), dim3(grid_for(n_tasks, teams, 4)), dim3(kThreads),
             kTeamSharedBytes<R::kTeamSize>, stream.stream, work);
  ANS_LAUNCH((backward_kernel<T, R>), dim3(blocks), dim3(kThreads), U::kUnits * (dim + 1) * sizeof(float),
             stream.stream, work);
  if (work.hop_weights != nullptr) {
    ANS_LAUNCH((item_kernel<T, R>), dim3(blocks_for(n_entries * work.n_hops, teams)), dim3(kThreads), 0, stream.stream,
               work);
  }
  ANS_LAUNCH(margin_kernel, dim3(blocks_for(dim + 1, kWarp)), dim3(kWarp, kWarp), kWarp * (kWarp + 1) * sizeof(float),
             stream.stream, work.margins, units, dim, work.sums.margin_weight, work.sums.margin_bias);
}

// Adds what all pairs give to `sums`.
template <typename T>
void add_all(Backward<T>& work, const Stream& stream) {
  const int64_t width = work.n_hops * work.dim;
  work.hop_sums = take<float4>(stream.memory, work.n_pairs * work.n_hops);
  const bool deterministic = work.sorted_users.ids != nullptr;
  if (deterministic) {
    work.hop_weights = take<float4>(stream.memory, work.n_pairs * work.n_hops);
    work.pair_user = take<float>(stream.memory, work.n_pairs * width);
    work.pair_item = take<float>(stream.memory, work.n_pairs * width);
  }
  with_row<T>(work.dim, [&](auto row) { launch<T, decltype(row)>(work, stream); });
  if (deterministic) {
    add_rows(work.pair_user, work.sorted_users, work.n_pairs, work.n_users, width, work.sums.user_hops, stream.stream);
    add_rows(work.pair_item, work.sorted_pos_items, work.n_pairs, work.n_items, width, work.sums.item_hops,
             stream.stream);
  }
}

}  // namespace

template <typename T>
void ans_terms_backward(const AnsBackwardArgs<T>& args, const Stream& stream) {
  const int64_t n_tasks = args.n_pairs * args.n_hops, width = args.n_hops * args.dim;
  const AnsGradients<T>& grad = args.grad;
  const int64_t users = args.n_users * width, items = args.n_items * width, pairs = args.n_pairs * width;
  Backward<T> work = {args};
  AnsGradients<float>& sums = work.sums;
  sums = {sums_of(grad.user_hops, users, stream), sums_of(grad.item_hops, items, stream),
          sums_of(grad.user_gate, pairs, stream), sums_of(grad.item_gate, items, stream),
          sums_of(grad.margin_weight, args.dim, stream), sums_of(grad.margin_bias, 1, stream)};
  clear(sums.user_hops, users, stream.stream);
  clear(sums.item_hops, items, stream.stream);
  clear(sums.item_gate, items, stream.stream);
  if (n_tasks == 0) {
    clear(sums.margin_weight, args.dim, stream.stream);
    clear(sums.margin_bias, 1, stream.stream);
  } else {
    add_all(work, stream);
  }
  store_sums(grad.user_hops, sums.user_hops, users, stream);
  store_sums(grad.item_hops, sums.item_hops, items, stream);
  store_sums(grad.user_gate, sums.user_gate, pairs, stream);
  store_sums(grad.item_gate, sums.item_gate, items, stream);
  store_sums(grad.margin_weight, sums.margin_weight, args.dim, stream);
  store_sums(grad.margin_bias, sums.margin_bias, 1, stream);
}

template void ans_terms_backward<float>(const AnsBackwardArgs<float>&, const Stream&);
template void ans_terms_backward<__nv_bfloat16>(const AnsBackwardArgs<__nv_bfloat16>&, const Stream&);
template void ans_terms_backward<__half>(const AnsBackwardArgs<__half>&, const Stream&);

}  // namespace ans::cuda
