// Each layer reads a compact table of rows already scaled by their own deg^-1/2, so that a neighbour costs one vector
// addition a register, and sums stay in registers. The columns are cut into groups of kLines cache lines: the table of
// a group is small enough for the caches that a whole row's would leave. A row is summed by one thread in a fixed order:
// the bits do not depend on the number of threads.
#include "cpu/propagate.h"

#include "cpu/pack.h"

namespace ans::cpu {
namespace {

constexpr int kLines = kVectorBytes == 16 ? 1 : 2;  // of 16-byte registers there are too few for two

// Where a layer reads and writes. Null pointers: not wanted.
template <typename T>
struct Layer {
  const T* table;  // [n_nodes, width of the group], pre-scaled; with `places` row places[i] + 1 is node i's, row 0 zeros
  const T* add;
  T* out;
  T* next;  // like table
  T factor;
  const int32_t* places;  // [n_nodes] or null
};

inline int64_t place_of(const int32_t* places, int64_t i) { return places ? places[i] : i; }

// The columns of one group, `Count` vectors from `column` on, of row i. Two neighbours at a time, to add without waiting.
template <int Count, bool Placed, typename T>
inline __attribute__((always_inline)) void finish_row(const PropagateArgs<T>& a, const Layer<T>& layer, int64_t column,
                                                      int64_t i) {
  using Vector = typename Pack<T>::Vector;
  using Loose = typename Pack<T>::Loose;
  constexpr int64_t width = Count * kVectorBytes / sizeof(T);
  const auto row_of = [&](int64_t node) {
    return reinterpret_cast<const Vector*>(layer.table + (Placed ? layer.places[node] + 1 : node) * width);
  };
  Vector even[Count], odd[Count];
  for (int c = 0; c < Count; ++c) even[c] = odd[c] = Vector{};
  const int32_t* neighbour = a.graph.indices + a.graph.indptr[i];
  const int32_t* const end = a.graph.indices + a.graph.indptr[i + 1];
  for (; neighbour + 1 < end; neighbour += 2) {
    const Vector* row0 = row_of(neighbour[0]);
    const Vector* row1 = row_of(neighbour[1]);
    for (int c = 0; c < Count; ++c) even[c] += row0[c];
    for (int c = 0; c < Count; ++c) odd[c] += row1[c];
  }
  if (neighbour < end) {
    const Vector* row = row_of(neighbour[0]);
    for (int c = 0; c < Count; ++c) even[c] += row[c];
  }
  const T scale = a.graph.scale[i];
  const int64_t source = place_of(a.from, i), target = place_of(a.to, i);
  const T* add = layer.add && source >= 0 ? layer.add + source * a.add_row + column : nullptr;
  T* next = layer.next ? layer.next + i * width : nullptr;
  T* out = layer.out && target >= 0 ? layer.out + target * a.out_row + column : nullptr;
  if (a.dim - column >= width) {
    for (int c = 0; c < Count; ++c) {
      Vector sum = scale * (even[c] + odd[c]);
      if (add) sum += reinterpret_cast<const Loose*>(add)[c];
      if (next) reinterpret_cast<Vector*>(next)[c] = scale * sum;
      if (out) reinterpret_cast<Loose*>(out)[c] = layer.factor * sum;
    }
    return;
  }
  alignas(64) T sums[width];
  for (int c = 0; c < Count; ++c) reinterpret_cast<Vector*>(sums)[c] = even[c] + odd[c];
  for (int64_t d = 0; d < a.dim - column; ++d) {
    sums[d] = scale * sums[d] + (add ? add[d] : T{0});
    if (out) out[d] = layer.factor * sums[d];
  }
  if (next) {
    for (int d = 0; d < width; ++d) next[d] = scale * sums[d];
  }
}

// Whether all indices of sound rows are nodes.
bool indices_are_sound(const GraphView& graph, int64_t begin, int64_t end) {
  const int32_t n_nodes = static_cast<int32_t>(graph.n_nodes);
  int wrong = 0;
#pragma omp simd reduction(| : wrong)
  for (int64_t e = graph.indptr[begin]; e < graph.indptr[end]; ++e)
    wrong |= (graph.indices[e] < 0) | (graph.indices[e] >= n_nodes);
  return wrong == 0;
}

// The first row of part `part` of `parts`: each part has about the same number of edges and rows together.
int64_t first_row(const GraphView& graph, int64_t part, int64_t parts) {
  if (part == parts) return graph.n_nodes;
  const int64_t bound = (graph.n_indices + graph.n_nodes) / parts * part;
  int64_t low = 0;
  for (int64_t high = graph.n_nodes; low < high;) {
    const int64_t middle = (low + high) / 2;
    if (graph.indptr[middle] + middle < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

// All layers of one group of columns, by all threads of a team together. A graph that is not sound sets *broken, and
// from then on nothing follows its indices; its rows are checked by every group, its indices by the first.
template <int Count, typename T>
void propagate_columns(const PropagateArgs<T>& a, int64_t column, bool* broken) {
  const GraphView& graph = a.graph;
  constexpr int64_t width = Count * kVectorBytes / sizeof(T);
  const int64_t columns = a.dim - column < width ? a.dim - column : width, parts = 16 * a.n_threads;
  T* const tables[2] = {a.scratch, a.scratch + (graph.n_nodes + 1) * width};
  const bool copies = a.out_hop != 0 || a.n_layers == 0;
  const auto is_broken = [&] { return __atomic_load_n(broken, __ATOMIC_RELAXED); };
  const auto require = [&](bool sound) {
    if (!sound) __atomic_store_n(broken, true, __ATOMIC_RELAXED);
  };
#pragma omp single nowait
  for (int64_t d = 0; a.from && d < width; ++d) tables[0][d] = T{0};
#pragma omp for schedule(static)
  for (int64_t i = 0; i < graph.n_nodes; ++i) {
    const int64_t begin = graph.indptr[i], end = graph.indptr[i + 1];
    require(begin >= 0 && begin <= end && end <= graph.n_indices);
    const int64_t source = place_of(a.from, i), target = place_of(a.to, i);
    const T* x = source >= 0 ? a.x + source * a.x_row + column : nullptr;
    if (x) {
      T* row = tables[0] + (a.from ? source + 1 : i) * width;
      const T scale = graph.scale[i];
      for (int64_t d = 0; d < columns; ++d) row[d] = scale * x[d];
      for (int64_t d = columns; d < width; ++d) row[d] = T{0};
    }
    if (copies && target >= 0) {
      T* out = a.out + target * a.out_row + column;
      for (int64_t d = 0; d < columns; ++d) out[d] = x ? x[d] : T{0};
    }
  }
  for (int64_t k = 1; k <= a.n_layers; ++k) {
    const bool last = k == a.n_layers;
    const Layer<T> layer = {tables[(k - 1) % 2], a.add ? a.add + k * a.add_hop : nullptr,
                            last || a.out_hop != 0 ? a.out + k * a.out_hop : nullptr, last ? nullptr : tables[k % 2],
                            last && a.out_hop == 0 ? a.factor : T{1}, k == 1 ? a.from : nullptr};
#pragma omp for schedule(dynamic, 1)
    for (int64_t part = 0; part < parts; ++part) {
      if (is_broken()) continue;
      const int64_t begin = first_row(graph, part, parts), end = first_row(graph, part + 1, parts);
      if (k == 1 && column == 0) require(indices_are_sound(graph, begin, end));
      if (is_broken()) continue;
      for (int64_t i = begin; i < end; ++i)
        if (!last || place_of(a.to, i) >= 0) {
          if (layer.places) finish_row<Count, true>(a, layer, column, i);
          else finish_row<Count, false>(a, layer, column, i);
        }
    }
  }
}

// Columns do not mix, so a group of them goes through all layers while its tables are in the cache.
template <typename T>
bool propagate(const PropagateArgs<T>& a) {
  constexpr int line_vectors = 64 / kVectorBytes;
  constexpr int64_t line = 64 / sizeof(T);
  bool broken = false;
#pragma omp parallel num_threads(a.n_threads)
  for (int64_t column = 0; column < a.dim; column += kLines * line) {
    if (a.dim - column > line) propagate_columns<kLines * line_vectors>(a, column, &broken);
    else propagate_columns<line_vectors>(a, column, &broken);
  }
  return !broken;
}

}  // namespace

bool ANS_ENTRY(propagate_float)(const PropagateFloatArgs& args) { return propagate(args); }
bool ANS_ENTRY(propagate_double)(const PropagateDoubleArgs& args) { return propagate(args); }

}  // namespace ans::cpu
