// Each layer reads a compact table of rows already scaled by their own deg^-1/2, so that a neighbour costs one vector
// addition a register, and sums stay in registers. The columns are cut into groups of kVectors registers: the table of
// a group is small enough for the caches that a whole row's would leave. A row is summed by one thread in a fixed order:
// the bits do not depend on the number of threads.
#include "ops/propagate.h"

#include "cpu/pack.h"

namespace ans::cpu {
namespace {

// Registers that a group's sums take twice: two cache lines of float32 or of bfloat16 where there are 32, half of them
// where there are 16.
template <typename T>
constexpr int kVectors = kVectorBytes == 64 && !std::is_same_v<T, bfloat16> ? 2 : 4;

template <typename T>
constexpr int64_t kLanes = Pack<Sum<T>>::size;

template <typename T>
using Vector = typename Pack<Sum<T>>::Vector;

// A row of a table: registers as they are, or of bfloat16 rows two in the place of one, which one instruction each tells
// apart: the first in the upper halves of 32-bit words, the second in the lower.
template <int Count, typename T>
ANS_PACKED void add_row(Vector<T> (&sums)[Count], const T* row) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    for (int c = 0; c < Count; c += 2) {
      const Words both = *reinterpret_cast<const Words*>(row + c * kLanes<T>);
      sums[c] += reinterpret_cast<Vector<T>>(both & 0xffff0000u);
      sums[c + 1] += reinterpret_cast<Vector<T>>(both << 16);
    }
  } else {
    for (int c = 0; c < Count; ++c) sums[c] += reinterpret_cast<const Vector<T>*>(row)[c];
  }
}

// Stores register c of `values` in a table; of bfloat16 rows every other call stores two.
template <typename T>
ANS_PACKED void store_register(T* row, int c, const Vector<T>* values) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    if (c % 2 == 0) return;
    const Words first = rounded<Words>(values[c - 1]), second = rounded<Words>(values[c]);
    *reinterpret_cast<Words*>(row + (c - 1) * kLanes<T>) = (first & 0xffff0000u) | second >> 16;
  } else {
    reinterpret_cast<Vector<T>*>(row)[c] = values[c];
  }
}

// The same of all registers, from numbers side by side.
template <int Count, typename T>
ANS_PACKED void store_numbers(T* row, const Sum<T>* numbers) {
  Vector<T> values[Count];
  for (int c = 0; c < Count; ++c) {
    values[c] = load<Pack<Sum<T>>>(numbers + c * kLanes<T>).lanes;
    store_register(row, c, values);
  }
}

// The same of scale * x, of which `columns` are there; the others are zeros.
template <int Count, typename T, typename O>
ANS_PACKED void store_scaled(T* row, Sum<T> scale, const O* x, int64_t columns) {
  constexpr int64_t width = Count * kLanes<T>;
  Vector<T> values[Count];
  if (columns >= width) {
    for (int c = 0; c < Count; ++c) {
      values[c] = scale * load<Pack<Sum<T>>>(x + c * kLanes<T>).lanes;
      store_register(row, c, values);
    }
  } else {
    Sum<T> numbers[width] = {};
    for (int64_t d = 0; d < columns; ++d) numbers[d] = scale * load<Sum<T>>(x + d);
    store_numbers<Count>(row, numbers);
  }
}

// Where a layer reads and writes. Null pointers: not wanted.
template <typename T>
struct Layer {
  // [n_nodes, width of the group], pre-scaled; with `places` row places[i] + 1 is node i's, row 0 zeros.
  const Stored<T>* table;
  const Outer<T>* add;
  Outer<T>* out;
  Stored<T>* next;  // like table
  Sum<Outer<T>> factor;
  const int32_t* places;  // [n_nodes] or null
};

inline int64_t place_of(const int32_t* places, int64_t i) { return places ? places[i] : i; }

// Fetches the columns of a row to come. Of one hop among several the rows lie too far apart for the hardware to do it;
// where they lie side by side it does, and more would only be in the way. Always inline: GCC drops a call that does
// nothing but fetch.
template <int64_t width, typename T>
ANS_PACKED void fetch_ahead(const PropagateArgs<T>& a, const Outer<T>* rows, int64_t row, int64_t column, int64_t i) {
  constexpr int64_t ahead = 8;
  if (rows == nullptr || row == a.dim || i + ahead >= a.graph.n_nodes) return;
  const int64_t source = place_of(a.from, i + ahead);
  if (source >= 0) prefetch_row(rows + source * row + column, width);
}

// The columns of one group, `Count` vectors from `column` on, of row i. Neighbours go to two sums in turn, to be added
// without waiting; wherever the loop ends, it is one branch that the processor did not foresee.
template <int Count, bool Placed, typename T>
ANS_PACKED void finish_row(const PropagateArgs<T>& a, const Layer<T>& layer, int64_t column, int64_t i) {
  using S = Stored<T>;
  using V = Pack<Sum<S>>;
  constexpr int64_t lanes = kLanes<S>, width = Count * lanes;
  const auto row_of = [&](int64_t node) { return layer.table + (Placed ? layer.places[node] + 1 : node) * width; };
  fetch_ahead<width>(a, layer.add, a.add_row, column, i);
  Vector<S> even[Count], odd[Count];
  for (int c = 0; c < Count; ++c) even[c] = odd[c] = Vector<S>{};
  const int32_t* neighbour = a.graph.indices + a.graph.indptr[i];
  const int32_t* const end = a.graph.indices + a.graph.indptr[i + 1];
  // What adds a row waits for it in the processor's queues, and of bfloat16 rows, each of which takes four times as many
  // instructions, few fit in there: they are asked for beforehand. For float32's that would be work for nothing.
  const auto fetch_later = [&]() __attribute__((always_inline)) {
    if constexpr (std::is_same_v<S, bfloat16>) {
      const int32_t *const later = neighbour + 20, *const last = a.graph.indices + a.graph.n_indices - 1;
      prefetch_row(row_of(*(later < last ? later : last)), width);
    }
  };
  while (neighbour < end) {
    fetch_later();
    add_row(even, row_of(*neighbour++));
    if (neighbour == end) break;
    fetch_later();
    add_row(odd, row_of(*neighbour++));
  }
  const Sum<S> scale = a.graph.scale[i];
  const int64_t source = place_of(a.from, i), target = place_of(a.to, i);
  const Outer<T>* add = layer.add && source >= 0 ? layer.add + source * a.add_row + column : nullptr;
  S* next = layer.next ? layer.next + i * width : nullptr;
  Outer<T>* out = layer.out && target >= 0 ? layer.out + target * a.out_row + column : nullptr;
  if (a.dim - column >= width) {
    for (int c = 0; c < Count; ++c) {
      Vector<S> sum = scale * (even[c] + odd[c]);
      if (add) sum += load<V>(add + c * lanes).lanes;
      if (next) {
        even[c] = scale * sum;
        store_register(next, c, even);
      }
      if (out) store(out + c * lanes, V(layer.factor * sum));
    }
    return;
  }
  Sum<S> sums[width];
  for (int c = 0; c < Count; ++c) store(sums + c * lanes, V(even[c] + odd[c]));
  for (int64_t d = 0; d < a.dim - column; ++d) {
    sums[d] = scale * sums[d] + (add ? load<Sum<S>>(add + d) : Sum<S>{0});
    if (out) store(out + d, layer.factor * sums[d]);
  }
  if (next) {
    for (int d = 0; d < width; ++d) sums[d] *= scale;
    store_numbers<Count>(next, sums);
  }
}

// Rows [begin, end) of a graph: users, items, or some of them.
struct Rows {
  int64_t begin, end;
};

// Which rows the last layer ends with, and those that it comes from.
struct Sides {
  Rows ends, others;
  Rows after(int64_t layers_left) const { return layers_left % 2 == 0 ? ends : others; }
};

// The first of `rows` that has `edges` edges, each row counting for `row_weight` more, before it.
int64_t first_row(const GraphView& graph, Rows rows, int64_t edges, int64_t row_weight) {
  const int64_t start = graph.indptr[rows.begin] + rows.begin * row_weight;
  int64_t low = rows.begin;
  for (int64_t high = rows.end; low < high;) {
    const int64_t middle = (low + high) / 2;
    if (graph.indptr[middle] + middle * row_weight - start < edges) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Part `part` of `parts`: each has about the same number of edges and rows together.
Rows part_of(const GraphView& graph, Rows rows, int64_t part, int64_t parts) {
  const int64_t work = graph.indptr[rows.end] - graph.indptr[rows.begin] + rows.end - rows.begin;
  const auto first = [&](int64_t k) { return k == parts ? rows.end : first_row(graph, rows, work / parts * k, 1); };
  return {first(part), first(part + 1)};
}

// Users' rows come before items', and have half of all indices; a row without any is at home on either side.
int64_t count_users(const GraphView& graph) {
  return first_row(graph, {0, graph.n_nodes}, (graph.n_indices + 1) / 2, 0);
}

bool indptr_is_sound(const GraphView& graph) {
  bool sound = true;
  for (int64_t i = 0; i < graph.n_nodes; ++i)
    sound &= graph.indptr[i] >= 0 && graph.indptr[i] <= graph.indptr[i + 1] && graph.indptr[i + 1] <= graph.n_indices;
  return sound;
}

// Whether the indices of `rows` are all among `others`. One comparison of 32 bits an index, which becomes a vector's.
bool lead_to(const GraphView& graph, Rows rows, Rows others) {
  const uint32_t begin = static_cast<uint32_t>(others.begin), count = static_cast<uint32_t>(others.end) - begin;
  uint32_t wrong = 0;
  for (int64_t e = graph.indptr[rows.begin]; e < graph.indptr[rows.end]; ++e)
    wrong |= static_cast<uint32_t>(graph.indices[e]) - begin >= count;
  return wrong == 0;
}

// Whether every index is on the other side; nothing follows one before this is known.
bool indices_are_sound(const GraphView& graph, Rows users, Rows items, int n_threads) {
  bool sound = true;
#pragma omp parallel for schedule(static) num_threads(n_threads) reduction(&& : sound)
  for (int part = 0; part < n_threads; ++part)
    sound = sound && lead_to(graph, part_of(graph, users, part, n_threads), items) &&
            lead_to(graph, part_of(graph, items, part, n_threads), users);
  return sound;
}

// Scratch for a group's columns.
template <typename T>
struct Tables {
  T* rows;   // [n_nodes, width of the group]
  T* first;  // what the first layer reads: the same, or [1 + n_from, width], a row of zeros before those of `from`
};

template <typename T>
Tables<Stored<T>> make_tables(const PropagateArgs<T>& a, const Memory& memory) {
  using S = Stored<T>;
  constexpr int64_t most = kVectors<S> * kLanes<S>;
  const int64_t width = a.dim > most / 2 ? most : most / 2;  // of the widest group
  S* rows = take<S>(memory, a.graph.n_nodes * width);
  return {rows, a.from ? take<S>(memory, (1 + a.n_from) * width) : rows};
}

// One group of columns through all layers, by all threads of a team together. Every layer goes from one side to the
// other, so that a table needs no twin.
template <int Count, typename T>
void propagate_columns(const PropagateArgs<T>& a, int64_t column, const Sides& sides, const Tables<Stored<T>>& tables,
                       int n_threads) {
  using S = Stored<T>;
  const GraphView& graph = a.graph;
  constexpr int64_t width = Count * kLanes<S>;
  const int64_t columns = a.dim - column < width ? a.dim - column : width, parts = 8 * n_threads;
  S *const table = tables.rows, *const first = tables.first;
  const bool copies = a.out_hop != 0 || a.n_layers == 0;
#pragma omp single nowait
  for (int64_t d = 0; a.from && d < width; ++d) first[d] = S{};
  const Rows start = sides.after(a.n_layers);
#pragma omp for schedule(static)
  for (int64_t i = start.begin; i < start.end; ++i) {
    fetch_ahead<width>(a, a.x, a.x_row, column, i);
    const int64_t source = place_of(a.from, i), target = place_of(a.to, i);
    const Outer<T>* x = source >= 0 ? a.x + source * a.x_row + column : nullptr;
    if (x) store_scaled<Count>(first + (a.from ? source + 1 : i) * width, graph.scale[i], x, columns);
    if (copies && target >= 0) {
      Outer<T>* out = a.out + target * a.out_row + column;
      for (int64_t d = 0; d < columns; ++d) out[d] = x ? x[d] : Outer<T>{};
    }
  }
  for (int64_t k = 1; k <= a.n_layers; ++k) {
    const bool last = k == a.n_layers;
    const Rows rows = sides.after(a.n_layers - k);
    const Layer<T> layer = {k == 1 ? first : table, a.add ? a.add + k * a.add_hop : nullptr,
                            last || a.out_hop != 0 ? a.out + k * a.out_hop : nullptr, last ? nullptr : table,
                            last && a.out_hop == 0 ? a.factor : Sum<S>{1}, k == 1 ? a.from : nullptr};
#pragma omp for schedule(dynamic, 1)
    for (int64_t part = 0; part < parts; ++part) {
      const Rows some = part_of(graph, rows, part, parts);
      for (int64_t i = some.begin; i < some.end; ++i)
        if (!last || place_of(a.to, i) >= 0) {
          if (layer.places) finish_row<Count, true>(a, layer, column, i);
          else finish_row<Count, false>(a, layer, column, i);
        }
    }
  }
}

// Columns do not mix, nor do layers that end with users and layers that end with items: a group of columns on one of
// these ways goes through all layers while its table is in the cache.
template <typename T>
void propagate_rows(const PropagateArgs<T>& a, const Threads& threads) {
  using S = Stored<T>;
  constexpr int most = kVectors<S>;
  const int n_threads = threads_for(threads, (a.graph.n_indices + a.graph.n_nodes) * a.dim, 1 << 16);
  *a.sound = indptr_is_sound(a.graph);
  if (!*a.sound) return;
  const int64_t n_users = count_users(a.graph);
  const Rows users = {0, n_users}, items = {n_users, a.graph.n_nodes};
  *a.sound = indices_are_sound(a.graph, users, items, n_threads);
  if (!*a.sound) return;
  const Tables<S> tables = make_tables(a, threads.memory);
  const Sides ways[] = {{users, items}, {items, users}};
#pragma omp parallel num_threads(n_threads)
  for (const Sides& sides : ways) {
    for (int64_t column = 0; column < a.dim; column += most * kLanes<S>) {
      if (a.dim - column > most / 2 * kLanes<S>) propagate_columns<most>(a, column, sides, tables, n_threads);
      else propagate_columns<most / 2>(a, column, sides, tables, n_threads);
    }
  }
}

}  // namespace

ANS_DEFINE_HOP_KERNEL(propagate, PropagateArgs, propagate_rows)

}  // namespace ans::cpu
