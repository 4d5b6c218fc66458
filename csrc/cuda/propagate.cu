// Rows and edges lie on one line, each row's edges followed by its end: row i's end is at indptr[i + 1] + i. Teams walk
// equal chunks of the line, so that a node of a million edges costs no more than a million nodes of one edge. A row that
// lies in one chunk is written at once. Of a row that crosses chunks each keeps its share, and a second kernel adds the
// shares in their order: no atomics, the same bits every time.
#include "ops/propagate.h"

#include <type_traits>

#include "cuda/rows.h"

namespace ans::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kInFlight = 4;  // neighbours' rows that a lane loads before it adds them

// One layer: next[i] = scale[i] Σ_j scale[j] x[j] + add[i], and out[i] = factor · next[i]. Null pointers: not wanted.
template <typename T>
struct Layer {
  GraphView graph;
  int64_t dim, chunk, n_chunks;
  const Stored<T>* x;
  const Outer<T>* add;
  Outer<T>* out;
  Stored<T>* next;  // [n_nodes, dim]
  int64_t x_row, add_row, out_row;
  const int32_t *x_at, *add_at, *out_at;  // the rows of nodes in x, add and out, as PropagateArgs has `from` and `to`
  float factor;
  float* partials;  // [2, n_chunks, dim]: what chunks hold of rows that they share
};

__device__ __forceinline__ int64_t place_of(const int32_t* places, int64_t node) {
  return places ? __ldg(places + node) : node;
}

template <typename T>
__device__ __forceinline__ bool is_wanted(const Layer<T>& a, int64_t row) {
  return a.next || place_of(a.out_at, row) >= 0;
}

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

// total += Σ scale[j] x[j] over `kCount` neighbours; those that x has no row of are zeros.
template <int kCount, bool kPlaced, typename R, typename T>
__device__ __forceinline__ void add_neighbours(const Layer<T>& a, const Stored<T>* x, int64_t edge, int lane, int dim,
                                               float (&total)[kValues]) {
  float scale[kCount], rows[kCount][kValues];
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const int32_t node = __ldg(a.graph.indices + edge + k);
    const bool sound = node >= 0 && node < a.graph.n_nodes;  // a broken graph gives NaN, not a crash
    scale[k] = sound ? __ldg(a.graph.scale + node) : NAN;
    const int64_t source = kPlaced ? (sound ? __ldg(a.x_at + node) : -1) : (sound ? node : 0);
    if (!kPlaced || source >= 0) {
      R::load(x + source * a.x_row, lane, dim, R::aligned(a.dim), rows[k]);
    } else {
#pragma unroll
      for (int i = 0; i < kValues; ++i) rows[k][i] = 0.0f;
    }
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
  using Own = typename R::template Of<Outer<T>>;
  const float scale = __ldg(a.graph.scale + row);
  const int64_t source = a.add ? place_of(a.add_at, row) : -1, target = a.out ? place_of(a.out_at, row) : -1;
  float add[kValues] = {};
  if (source >= 0) Own::load(a.add + source * a.add_row + column, lane, dim, Own::aligned(a.dim), add);
#pragma unroll
  for (int i = 0; i < kValues; ++i) total[i] = scale * total[i] + add[i];
  if (a.next) R::store(a.next + row * a.dim + column, lane, dim, R::aligned(a.dim), total);
  if (target < 0) return;
#pragma unroll
  for (int i = 0; i < kValues; ++i) total[i] *= a.factor;
  Own::store(a.out + target * a.out_row + column, lane, dim, Own::aligned(a.dim), total);
}

// One team a chunk; blockIdx.y picks a slab of 8 · kTeam columns. kPlaced: a.x_at is not null.
template <bool kPlaced, typename T, typename R>
__global__ void __launch_bounds__(kThreads, 6) chunk_kernel(const Layer<T> a) {
  constexpr int kTeam = R::kTeamSize;
  using Share = typename R::Float;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t c = blockIdx.x * static_cast<int64_t>(kThreads / kTeam) + threadIdx.x / kTeam;
  if (c >= a.n_chunks) return;
  const int64_t column = blockIdx.y * static_cast<int64_t>(kTeam * kValues);
  const int dim = static_cast<int>(a.dim - column < kTeam * kValues ? a.dim - column : kTeam * kValues);
  const Stored<T>* x = a.x + column;
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
    const bool wanted = is_wanted(a, row);
    position += stop - edge;
    if (wanted) {
      for (; edge + kInFlight <= stop; edge += kInFlight) {
        add_neighbours<kInFlight, kPlaced, R>(a, x, edge, lane, dim, total);
      }
      for (; edge < stop; ++edge) add_neighbours<1, kPlaced, R>(a, x, edge, lane, dim, total);
    }
    edge = stop;
    if (position == end) break;
    if (wanted && shared) Share::store(head, lane, dim, Share::aligned(a.dim), total);
    else if (wanted) finish_row<R>(a, row, column, lane, dim, total);
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
__global__ void __launch_bounds__(kThreads, 6) shared_row_kernel(const Layer<T> a) {
  constexpr int kTeam = R::kTeamSize;
  using Share = typename R::Float;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t row = blockIdx.x * static_cast<int64_t>(kThreads / kTeam) + threadIdx.x / kTeam;
  if (row >= a.graph.n_nodes) return;
  const int64_t first = (__ldg(a.graph.indptr + row) + row) / a.chunk;
  const int64_t last = (__ldg(a.graph.indptr + row + 1) + row) / a.chunk;
  if (first == last || !is_wanted(a, row)) return;
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

// rows[0] of those nodes that `to` has. One team a node.
template <typename T, typename R>
__global__ void __launch_bounds__(kThreads) first_hop_kernel(const PropagateArgs<T> a) {
  using Own = typename R::template Of<Outer<T>>;
  constexpr int kTeam = R::kTeamSize;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  const int64_t node = blockIdx.x * static_cast<int64_t>(kThreads / kTeam) + threadIdx.x / kTeam;
  if (node >= a.graph.n_nodes) return;
  const int64_t source = place_of(a.from, node), target = place_of(a.to, node);
  if (target < 0) return;
  const int64_t column = blockIdx.y * static_cast<int64_t>(kTeam * kValues);
  const int dim = static_cast<int>(a.dim - column < kTeam * kValues ? a.dim - column : kTeam * kValues);
  float row[kValues] = {};
  if (source >= 0) Own::load(a.x + source * a.x_row + column, lane, dim, Own::aligned(a.dim), row);
  Own::store(a.out + target * a.out_row + column, lane, dim, Own::aligned(a.dim), row);
}

// What the first layer reads: a neighbour's row is read many times, and one of the caller's is twice as long.
template <typename T>
__global__ void __launch_bounds__(kThreads) store_kernel(const Outer<T>* x, int64_t size, Stored<T>* stored) {
  for (int64_t i = thread_of_grid(); i < size; i += threads_of_grid()) stored[i] = from_float<Stored<T>>(x[i]);
}

template <typename T>
const Stored<T>* stored_rows(const PropagateArgs<T>& args, const Stream& stream) {
  if constexpr (std::is_same_v<Outer<T>, Stored<T>>) {
    return args.x;
  } else {  // such rows of a caller lie side by side
    const int64_t size = (args.from ? args.n_from : args.graph.n_nodes) * args.dim;
    Stored<T>* stored = take<Stored<T>>(stream.memory, size);
    const unsigned blocks = grid_for(size, kThreads, 16);
    if (size > 0) ANS_LAUNCH(store_kernel<T>, dim3(blocks), dim3(kThreads), 0, stream.stream, args.x, size, stored);
    return stored;
  }
}

// Calls function(row, blocks): `blocks` says how many of a kernel's blocks have a team for each of n, and for each slab of
// 256 columns into which longer rows are cut, all full or not all.
template <typename T, typename Function>
void with_teams(int64_t dim, Function function) {
  with_row<Stored<T>>(dim <= 256 ? dim : (dim % 256 == 0 ? 256 : 255), [&](auto row) {
    using R = decltype(row);
    constexpr int64_t teams = kThreads / R::kTeamSize, width = R::kTeamSize * kValues;
    const unsigned slabs = blocks_for(dim, width);
    function(row, [=](int64_t n) { return dim3(blocks_for(n, teams), slabs); });
  });
}

template <typename T>
void run_layer(const Layer<T>& layer, cudaStream_t stream) {
  with_teams<T>(layer.dim, [&](auto row, auto blocks) {
    using R = decltype(row);
    if (layer.x_at) {
      ANS_LAUNCH((chunk_kernel<true, T, R>), blocks(layer.n_chunks), dim3(kThreads), 0, stream, layer);
    } else {
      ANS_LAUNCH((chunk_kernel<false, T, R>), blocks(layer.n_chunks), dim3(kThreads), 0, stream, layer);
    }
    ANS_LAUNCH((shared_row_kernel<T, R>), blocks(layer.graph.n_nodes), dim3(kThreads), 0, stream, layer);
  });
}

// Enough chunks for every multiprocessor to have 64 teams, of 32 to 256 rows and edges each.
int64_t chunk_size(int64_t length) {
  const int64_t even = length / (64 * multiprocessors());
  return even < 32 ? 32 : (even > 256 ? 256 : even);
}

}  // namespace

template <typename T>
void propagate(const PropagateArgs<T>& args, const Stream& stream) {
  const GraphView& graph = args.graph;
  const bool hops_wanted = args.out_hop != 0 || args.n_layers == 0;
  if (hops_wanted) {
    with_teams<T>(args.dim, [&](auto row, auto blocks) {
      using R = decltype(row);
      ANS_LAUNCH((first_hop_kernel<T, R>), blocks(graph.n_nodes), dim3(kThreads), 0, stream.stream, args);
    });
  }
  if (args.n_layers == 0) return;
  // Where every node's hop is written it is what the next layer reads; elsewhere two tables take turns.
  const bool from_out = std::is_same_v<Outer<T>, Stored<T>> && hops_wanted && args.to == nullptr;
  const int64_t table_size = graph.n_nodes * args.dim;
  const int64_t n_tables = from_out || args.n_layers == 1 ? 0 : (args.n_layers == 2 ? 1 : 2);
  Stored<T>* tables = n_tables == 0 ? nullptr : take<Stored<T>>(stream.memory, n_tables * table_size);
  Layer<T> layer = {};
  layer.graph = graph;
  layer.dim = args.dim;
  layer.chunk = chunk_size(graph.n_nodes + graph.n_indices);
  layer.n_chunks = (graph.n_nodes + graph.n_indices + layer.chunk - 1) / layer.chunk;
  layer.partials = take<float>(stream.memory, 2 * layer.n_chunks * args.dim);
  layer.x = stored_rows(args, stream);
  layer.x_row = args.x_row;
  layer.x_at = layer.add_at = args.from;
  layer.add_row = args.add_row;
  layer.out_row = args.out_row;
  layer.out_at = args.to;
  for (int64_t k = 1; k <= args.n_layers; ++k) {
    const bool last = k == args.n_layers;
    layer.add = args.add ? args.add + k * args.add_hop : nullptr;
    layer.out = last || hops_wanted ? args.out + k * args.out_hop : nullptr;
    layer.next = last || from_out ? nullptr : tables + (k - 1) % 2 * table_size;
    layer.factor = last && !hops_wanted ? args.factor : 1.0f;
    run_layer(layer, stream.stream);
    layer.x = layer.next;
    layer.x_row = args.dim;
    if constexpr (std::is_same_v<Outer<T>, Stored<T>>) {
      if (from_out) {
        layer.x = layer.out;
        layer.x_row = args.out_row;
      }
    }
    layer.x_at = nullptr;
  }
}

template void propagate<float>(const PropagateArgs<float>&, const Stream&);
template void propagate<__nv_bfloat16>(const PropagateArgs<__nv_bfloat16>&, const Stream&);
template void propagate<__half>(const PropagateArgs<__half>&, const Stream&);
template void propagate<Shortened<__nv_bfloat16>>(const PropagateArgs<Shortened<__nv_bfloat16>>&, const Stream&);

}  // namespace ans::cuda
