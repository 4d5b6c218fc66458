// Scores are made tile by tile, small enough for a thread's first cache, and never stored as a whole: the forward pass
// keeps each row's running maximum and sum, the backward pass makes the scores anew.
//
// Backward, a range of keys and in it a band of queries at a time: threads share out queries, whose weights (the scores'
// gradients) they make and whose gradients they add up, then keys, whose gradients these weights go into. Every number is
// added up in the order of keys or of queries, however many are taken at a time: the same bits at any number of threads.
#include "ops/log_sum_exp.h"

#include <math.h>

#include "cpu/multiply.h"

namespace ans::cpu {
namespace {

constexpr int64_t kRows = 24;           // queries that a thread takes at a time: whole tiles of the product
constexpr int64_t kKeys = 256;          // keys of a tile of scores
constexpr int64_t kStride = kKeys + 16;  // so that a column's numbers do not compete for the same places in the cache

inline int64_t quotient_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

template <typename T>
constexpr int64_t kLanes = Pack<T>::size;

template <typename T>
constexpr T kNone = static_cast<T>(-INFINITY);

// Keys from `first` on as the product wants them, and what is added to each one's scores: -inf in the lanes beyond the
// last key.
template <typename T>
struct PackedKeys {
  T* panels;  // [n_panels, D, lanes]
  T* bias;    // [n_panels * lanes]
  int64_t first, n_panels;
};

// Memory for a range of so many keys.
template <typename T>
PackedKeys<T> take_keys(const LogSumExpArgs<T>& a, int64_t n_keys, const Memory& memory) {
  const int64_t n_panels = quotient_up(n_keys, kLanes<T>);
  return {take<T>(memory, n_panels * a.dim * kLanes<T>), take<T>(memory, n_panels * kLanes<T>), 0, n_panels};
}

template <typename T>
void pack(const LogSumExpArgs<T>& a, const PackedKeys<T>& keys, int64_t panel) {
  T* to = keys.panels + panel * kLanes<T> * a.dim;
  for (int64_t lane = 0; lane < kLanes<T>; ++lane) {
    const int64_t at = panel * kLanes<T> + lane, key = keys.first + at;
    const bool there = key < a.n_keys;
    keys.bias[at] = !there ? kNone<T> : a.key_bias ? a.key_bias[key] : T{0};
    for (int64_t d = 0; d < a.dim; ++d) to[d * kLanes<T> + lane] = there ? a.keys[key * a.dim + d] : T{0};
  }
}

// The keys of a tile: from `first` on, which is `at` in the range.
struct Tile {
  int64_t first, at, n_panels;
};

template <typename T>
inline int64_t chunks_of(const PackedKeys<T>& keys) {
  return quotient_up(keys.n_panels * kLanes<T>, kKeys);
}

template <typename T>
inline Tile tile_of(const PackedKeys<T>& keys, int64_t chunk) {
  constexpr int64_t panels = kKeys / kLanes<T>;
  return {keys.first + chunk * kKeys, chunk * kKeys, least(panels, keys.n_panels - chunk * panels)};
}

// scores [n, kStride] of queries `first` … with a tile's keys; -inf where a pair does not count.
template <typename T>
void score(const LogSumExpArgs<T>& a, const PackedKeys<T>& keys, int64_t first, int64_t n, Tile tile, T* scores) {
  using V = Pack<T>;
  const int64_t width = tile.n_panels * kLanes<T>, n_keys = least(width, a.n_keys - tile.first);
  multiply<Old::replaced, T>(n, tile.n_panels, a.dim, {a.queries + first * a.dim, a.dim, 1},
                             {keys.panels + tile.at * a.dim, kLanes<T>, a.dim * kLanes<T>}, scores, kStride);
  const V scale(a.scale);
  for (int64_t i = 0; i < n; ++i) {
    T* row = scores + i * kStride;
    for (int64_t j = 0; j < width; j += kLanes<T>)
      store(row + j, load<V>(row + j) * scale + load<V>(keys.bias + tile.at + j));
    if (a.query_ids == nullptr) continue;
    const int64_t id = a.query_ids[first + i], *ids = a.key_ids + tile.first;
    for (int64_t j = 0; j < n_keys; ++j) row[j] = ids[j] == id ? kNone<T> : row[j];
  }
}

template <typename T>
ANS_PACKED Pack<T> largest(Pack<T> a, Pack<T> b) {
  return Pack<T>(a.lanes > b.lanes ? a.lanes : b.lanes);
}

// e^x, and 0 for what is too small to count beside 1. NaN stays NaN.
template <typename T>
ANS_PACKED Pack<T> exp_or_zero(Pack<T> x) {
  return Pack<T>(x.lanes < T(-87) ? typename Pack<T>::Vector{} : fast_exp(x).lanes);
}

// What a row's scores are taken relative to: `value`, or 0 where that is the -inf of a row without pairs.
template <typename T>
inline T origin(T value) {
  return value == kNone<T> ? T{0} : value;
}

// Σ e^score = e^most · sum
template <typename T>
struct Running {
  T most = kNone<T>, sum = 0;

  void add(const T* scores, int64_t width) {
    using V = Pack<T>;
    V lanes(most);
    for (int64_t j = 0; j < width; j += kLanes<T>) lanes = largest(load<V>(scores + j), lanes);
    const T before = most;
    for (int64_t lane = 0; lane < kLanes<T>; ++lane) most = lanes.lanes[lane] > most ? lanes.lanes[lane] : most;
    const V now(origin(most));
    V sums;
    for (int64_t j = 0; j < width; j += kLanes<T>) sums += exp_or_zero(load<V>(scores + j) - now);
    sum = sum * static_cast<T>(exp(before - origin(most))) + ans::cpu::sum(sums);
  }

  T log_sum() const { return most + static_cast<T>(log(sum)); }
};

template <typename T>
void forward_rows(const LogSumExpArgs<T>& a, const PackedKeys<T>& keys, int64_t first) {
  alignas(64) T scores[kRows * kStride];
  Running<T> rows[kRows];
  const int64_t n = least(kRows, a.n_queries - first);
  for (int64_t chunk = 0; chunk < chunks_of(keys); ++chunk) {
    const Tile tile = tile_of(keys, chunk);
    score(a, keys, first, n, tile, scores);
    for (int64_t i = 0; i < n; ++i) rows[i].add(scores + i * kStride, tile.n_panels * kLanes<T>);
  }
  for (int64_t i = 0; i < n; ++i) a.log_sums[first + i] = rows[i].log_sum();
}

template <typename T>
int threads_for_pairs(const LogSumExpArgs<T>& a, const Threads& threads) {
  return threads_for(threads, a.n_queries * a.n_keys * (a.dim + 8), 1 << 18);
}

template <typename T>
void forward(const LogSumExpArgs<T>& a, const Threads& threads) {
  const PackedKeys<T> keys = take_keys(a, a.n_keys, threads.memory);
#pragma omp parallel num_threads(threads_for_pairs(a, threads))
  {
#pragma omp for schedule(static)
    for (int64_t panel = 0; panel < keys.n_panels; ++panel) pack(a, keys, panel);
#pragma omp for schedule(dynamic, 1)
    for (int64_t first = 0; first < a.n_queries; first += kRows) forward_rows(a, keys, first);
  }
}

// Rows [n, D] with zeros in the lanes beyond D, which products read and write in whole registers.
template <typename T>
struct Padded {
  T* data;
  int64_t width;
  bool is_copy;

  T* row(int64_t i) const { return data + i * width; }
  Panels<T> panels(int64_t first) const { return {row(first), width, kLanes<T>}; }
};

// The rows themselves where they are so, or else memory for a copy. Only copies of what is const are written.
template <typename T>
Padded<T> padded(const T* rows, int64_t n, int64_t dim, const Memory& memory) {
  const int64_t width = quotient_up(dim, kLanes<T>) * kLanes<T>;
  const bool is_copy = width != dim || reinterpret_cast<uintptr_t>(rows) % kVectorBytes != 0;
  return {is_copy ? take<T>(memory, n * width) : const_cast<T*>(rows), width, is_copy};
}

template <typename T>
inline void copy_padded(const Padded<T>& to, const T* from, int64_t i, int64_t dim) {
  memcpy(to.row(i), from + i * dim, sizeof(T) * static_cast<size_t>(dim));
  clear(to.row(i) + dim, to.width - dim);
}

template <typename T>
struct Backward {
  const LogSumExpBackwardArgs<T>& a;
  const LogSumExpArgs<T>& in;
  Padded<T> queries, keys, grad_queries, grad_keys;
  int64_t band;  // queries
  T* weights;    // [chunks of a range, band, kStride]

  T* weights_of(int64_t chunk, int64_t row) const { return weights + (chunk * band + row) * kStride; }

  // Queries `first` … of the band that starts at `start`: their weights of the range's keys, and what these add to
  // their gradients.
  void weigh(const PackedKeys<T>& range, int64_t start, int64_t first) const {
    using V = Pack<T>;
    const int64_t n = least(kRows, least(start + band, in.n_queries) - first);
    for (int64_t chunk = 0; chunk < chunks_of(range); ++chunk) {
      const Tile tile = tile_of(range, chunk);
      T* rows = weights_of(chunk, first - start);
      score(in, range, first, n, tile, rows);
      for (int64_t i = 0; i < n; ++i) {
        const V log_sum(origin(in.log_sums[first + i])), factor(a.grad[first + i] * in.scale);
        T* row = rows + i * kStride;
        for (int64_t j = 0; j < tile.n_panels * kLanes<T>; j += kLanes<T>)
          store(row + j, exp_or_zero(load<V>(row + j) - log_sum) * factor);
      }
      multiply<Old::added, T>(n, queries.width / kLanes<T>, least(kKeys, in.n_keys - tile.first), {rows, kStride, 1},
                              keys.panels(tile.first), grad_queries.row(first), queries.width);
    }
  }

  // What the band's queries, `n` of them from `start` on, add to the gradients of a chunk's keys.
  void add_to_keys(const PackedKeys<T>& range, int64_t start, int64_t n, int64_t chunk) const {
    const int64_t first = tile_of(range, chunk).first;
    multiply<Old::added, T>(least(kKeys, in.n_keys - first), keys.width / kLanes<T>, n,
                            {weights_of(chunk, 0), 1, kStride}, queries.panels(start), grad_keys.row(first), keys.width);
  }
};

template <typename T>
void backward(const LogSumExpBackwardArgs<T>& a, const Threads& threads) {
  const LogSumExpArgs<T>& in = a.inputs;
  const Memory& memory = threads.memory;
  const int n_threads = threads_for_pairs(in, threads);
  const int64_t n_queries = in.n_queries, n_keys = in.n_keys, dim = in.dim;
  const int64_t band = kRows * (n_threads < 4 ? 4 : n_threads);
  const int64_t n_chunks = least(quotient_up(n_keys, kKeys), n_threads < 2 ? 2 : n_threads);  // of a range
  const PackedKeys<T> packed = take_keys(in, least(n_keys, n_chunks * kKeys), memory);
  const Backward<T> b = {a,
                         in,
                         padded(in.queries, n_queries, dim, memory),
                         padded(in.keys, n_keys, dim, memory),
                         padded(a.grad_queries, n_queries, dim, memory),
                         padded(a.grad_keys, n_keys, dim, memory),
                         band,
                         take<T>(memory, n_chunks * band * kStride)};
#pragma omp parallel num_threads(n_threads)
  {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n_queries; ++i) {
      if (b.queries.is_copy) copy_padded(b.queries, in.queries, i, dim);
      clear(b.grad_queries.row(i), b.grad_queries.width);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n_keys; ++i) {
      if (b.keys.is_copy) copy_padded(b.keys, in.keys, i, dim);
      clear(b.grad_keys.row(i), b.grad_keys.width);
    }
    for (int64_t first_key = 0; first_key < n_keys; first_key += n_chunks * kKeys) {
      const int64_t n_panels = quotient_up(least(n_chunks * kKeys, n_keys - first_key), kLanes<T>);
      const PackedKeys<T> range = {packed.panels, packed.bias, first_key, n_panels};
#pragma omp for schedule(static)
      for (int64_t panel = 0; panel < n_panels; ++panel) pack(in, range, panel);
      for (int64_t start = 0; start < n_queries; start += band) {
        const int64_t end = least(start + band, n_queries);
#pragma omp for schedule(dynamic, 1)
        for (int64_t first = start; first < end; first += kRows) b.weigh(range, start, first);
#pragma omp for schedule(dynamic, 1)
        for (int64_t chunk = 0; chunk < chunks_of(range); ++chunk) b.add_to_keys(range, start, end - start, chunk);
      }
    }
    if (b.grad_queries.is_copy) {
#pragma omp for schedule(static)
      for (int64_t i = 0; i < n_queries; ++i)
        memcpy(a.grad_queries + i * dim, b.grad_queries.row(i), sizeof(T) * static_cast<size_t>(dim));
    }
    if (b.grad_keys.is_copy) {
#pragma omp for schedule(static)
      for (int64_t i = 0; i < n_keys; ++i)
        memcpy(a.grad_keys + i * dim, b.grad_keys.row(i), sizeof(T) * static_cast<size_t>(dim));
    }
  }
}

// Of 16-bit rows a copy in float32: it is small beside the scores.
const float* widened(const bfloat16* rows, int64_t size, const Threads& threads) {
  float* const wide = take<float>(threads.memory, size);
#pragma omp parallel for schedule(static) num_threads(threads_for(threads, size, 1 << 16))
  for (int64_t i = 0; i < size; ++i) wide[i] = load<float>(rows + i);
  return wide;
}

LogSumExpArgs<float> widened(const LogSumExpArgs<bfloat16>& a, const Threads& threads) {
  return {widened(a.queries, a.n_queries * a.dim, threads), widened(a.keys, a.n_keys * a.dim, threads),
          a.query_ids, a.key_ids, a.key_bias, a.scale, a.n_queries, a.n_keys, a.dim, a.log_sums};
}

void forward(const LogSumExpArgs<bfloat16>& a, const Threads& threads) { forward(widened(a, threads), threads); }

void backward(const LogSumExpBackwardArgs<bfloat16>& a, const Threads& threads) {
  backward(LogSumExpBackwardArgs<float>{widened(a.inputs, threads), a.grad, a.grad_queries, a.grad_keys}, threads);
}

}  // namespace

ANS_DEFINE_ROW_KERNEL(log_sum_exp, LogSumExpArgs, forward)
ANS_DEFINE_ROW_KERNEL(log_sum_exp_backward, LogSumExpBackwardArgs, backward)

}  // namespace ans::cpu
