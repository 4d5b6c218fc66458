// Rows and edges lie on one line, each row's edges followed by its end: row i's end is at indptr[i + 1] + i. Teams walk
// equal chunks of the line, so that a node of a million edges costs no more than a million nodes of one edge. A row that
// lies in one chunk is written at once. Of a row that crosses chunks each keeps its share, and a second kernel adds the
// shares in their order: no atomics, the same bits every time.
#include "cuda/propagate.h"

#include "cuda/rows.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kInFlight = 4;  // neighbours' rows that a lane loads before it adds them

// One layer: out[i] = factor · (scale[i] Σ_j scale[j] x[j] + add[i]).
template <typename T>
struct Layer {
  GraphView graph;
  int64_t dim, chunk, n_chunks;
  const T* x;
  const T* add;
  T* out;
  int64_t x_row, add_row, out_row;
  float factor;
  float* partials;  // [2, n_chunks, dim]: what chunks hold of rows that they share
};

// The first row whose end is at `position` of the line or later.
template <typename T>
__device__ int64_t row_at(const Layer<T>& a, int64_t position) {
  int64_t low = 0;
  for (int64_t high = a.graph.n_nodes; low < high;) {
    const int64_t middle = (low + high) / 2;
    if (__ldg(a.graph.indptr + middle + 1) + middle < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

// total += Σ scale[j] x[j] over `kCount` neighbours.
template <int kCount, typename R, typename T>
__device__ __forceinline__ void add_neighbours(const Layer<T>& a, const T* x, int64_t edge, int lane, int dim,
                                               float (&total)[kValues]) {
  float scale[kCount], rows[kCount][kValues];
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const int32_t node = __ldg(a.graph.indices + edge + k);
    const bool sound = node >= 0 && node < a.graph.n_nodes;  // a broken graph gives NaN, not a crash
    scale[k] = sound ? __ldg(a.graph.scale + node) : NAN;
    R::load(x + (sound ? node : 0) * a.x_row, lane, dim, R::aligned(a.dim), rows[k]);
  }
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) total[i] += scale[k] * rows[k][i];
  }
}

template <typename R, typename T>
__device__ __forceinline__ void finish_row(const Layer<T>& a, int64_t row, int64_t column, int lane, int dim,
                                           float (&total)[kValues]) {
  const float scale = __ldg(a.graph.scale + row);
  float add[kValues] = {};
  if (a.add) R::load(a.add + row * a.add_row + column, lane, dim, R::aligned(a.dim), add);
#pragma unroll
  for (int i = 0; i < kValues; ++i) total[i] = a.factor * (scale * total[i] + add[i]);
  R::store(a.out + row * a.out_row + column, lane, dim, R::aligned(a.dim), total);
}

// One team a chunk; blockIdx.y picks a slab of 8 · kTeam columns.
template <typename T, typename R>
__global__ void __launch_bounds__(kThreads, 6) chunk_kernel(const Layer<T> a) {
  constexpr int kTeam = R::kTeamSize;
  using Share = typename R::Float;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t c = blockIdx.x * static_cast<int64_t>(kThreads / kTeam) + threadIdx.x / kTeam;
  if (c >= a.n_chunks) return;
  const int64_t column = blockIdx.y * static_cast<int64_t>(kTeam * kValues);
  const int dim = static_cast<int>(a.dim - column < kTeam * kValues ? a.dim - column : kTeam * kValues);
  const T* x = a.x + column;
  float* tail = a.partials + c * a.dim + column;
  float* head = tail + a.n_chunks * a.dim;

  int64_t position = c * a.chunk;
  const int64_t length = a.graph.n_nodes + a.graph.n_indices;
  const int64_t end = position + a.chunk < length ? position + a.chunk : length;
  int64_t row = row_at(a, position), edge = position - row;
  bool shared = row < a.graph.n_nodes && edge > __ldg(a.graph.indptr + row);  // an earlier chunk has some of its edges
  float total[kValues] = {};
  while (position < end && row < a.graph.n_nodes) {
    const int64_t row_end = __ldg(a.graph.indptr + row + 1), room = edge + (end - position);
    const int64_t stop = row_end < room ? row_end : room;
    const int64_t first = edge;
    for (; edge + kInFlight <= stop; edge += kInFlight) add_neighbours<kInFlight, R>(a, x, edge, lane, dim, total);
    for (; edge < stop; ++edge) add_neighbours<1, R>(a, x, edge, lane, dim, total);
    position += edge - first;
    if (position == end) break;
    if (shared) Share::store(head, lane, dim, Share::aligned(a.dim), total);
    else finish_row<R>(a, row, column, lane, dim, total);
#pragma unroll
    for (int i = 0; i < kValues; ++i) total[i] = 0.0f;
    shared = false;
    ++row;
    ++position;
  }
  if (row < a.graph.n_nodes) Share::store(tail, lane, dim, Share::aligned(a.dim), total);
}

// Adds up the rows that cross chunks. One team a row.
template <typename T, typename R>
__global__ void __launch_bounds__(kThreads) shared_row_kernel(const Layer<T> a) {
  constexpr int kTeam = R::kTeamSize;
  using Share = typename R::Float;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t row = blockIdx.x * static_cast<int64_t>(kThreads / kTeam) + threadIdx.x / kTeam;
  if (row >= a.graph.n_nodes) return;
  const int64_t first = (__ldg(a.graph.indptr + row) + row) / a.chunk;
  const int64_t last = (__ldg(a.graph.indptr + row + 1) + row) / a.chunk;
  if (first == last) return;
  const int64_t column = blockIdx.y * static_cast<int64_t>(kTeam * kValues);
  const int dim = static_cast<int>(a.dim - column < kTeam * kValues ? a.dim - column : kTeam * kValues);
  const float* tails = a.partials + column;
  const float* heads = tails + a.n_chunks * a.dim;
  float total[kValues] = {};
#pragma unroll 4
  for (int64_t c = first; c <= last; ++c) {
    float share[kValues];
    Share::load((c < last ? tails : heads) + c * a.dim, lane, dim, Share::aligned(a.dim), share);
#pragma unroll
    for (int i = 0; i < kValues; ++i) total[i] += share[i];
  }
  finish_row<R>(a, row, column, lane, dim, total);
}

template <typename T>
void run_layer(const Layer<T>& layer, cudaStream_t stream) {
  // Longer rows are cut into slabs of 256 columns, all full or not all.
  with_row<T>(layer.dim <= 256 ? layer.dim : (layer.dim % 256 == 0 ? 256 : 255), [&](auto like) {
    using R = decltype(like);
    constexpr int64_t teams = kThreads / R::kTeamSize, width = R::kTeamSize * kValues;
    const auto slabs = static_cast<unsigned>((layer.dim + width - 1) / width);
    const auto blocks = [&](int64_t n) { return dim3(static_cast<unsigned>((n + teams - 1) / teams), slabs); };
    ANS_LAUNCH((chunk_kernel<T, R>), blocks(layer.n_chunks), dim3(kThreads), 0, stream, layer);
    ANS_LAUNCH((shared_row_kernel<T, R>), blocks(layer.graph.n_nodes), dim3(kThreads), 0, stream, layer);
  });
}

// Enough chunks for every multiprocessor to have 64 teams, of 32 to 256 rows and edges each.
int64_t chunk_size(int64_t length) {
  const int64_t even = length / (64 * multiprocessors());
  return even < 32 ? 32 : (even > 256 ? 256 : even);
}

}  // namespace

int64_t propagate_chunks(int64_t n_nodes, int64_t n_indices) {
  const int64_t length = n_nodes + n_indices, chunk = chunk_size(length);
  return (length + chunk - 1) / chunk;
}

template <typename T>
void propagate(const PropagateArgs<T>& args, cudaStream_t stream) {
  const GraphView& graph = args.graph;
  if (graph.n_nodes == 0 || args.dim == 0) return;
  Layer<T> layer = {graph, args.dim, chunk_size(graph.n_nodes + graph.n_indices),
                    propagate_chunks(graph.n_nodes, graph.n_indices), args.x, nullptr, nullptr, args.x_row,
                    args.add_row, 0, 1.0f, args.partials};
  for (int64_t k = 1; k <= args.n_layers; ++k) {
    const bool to_out = args.out_hop != 0 || k == args.n_layers;
    layer.add = args.add ? args.add + k * args.add_hop : nullptr;
    layer.out = to_out ? args.out + k * args.out_hop : args.scratch + k % 2 * graph.n_nodes * args.dim;
    layer.out_row = to_out ? args.out_row : args.dim;
    layer.factor = args.out_hop == 0 && k == args.n_layers ? args.factor : 1.0f;
    run_layer(layer, stream);
    layer.x = layer.out;
    layer.x_row = layer.out_row;
  }
}

template void propagate<float>(const PropagateArgs<float>&, cudaStream_t);
template void propagate<__nv_bfloat16>(const PropagateArgs<__nv_bfloat16>&, cudaStream_t);
template void propagate<__half>(const PropagateArgs<__half>&, cudaStream_t);

}  // namespace ans::cuda
