// Nodes whose rows are wanted, in any order, some of them more than once: each is worked on once.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include "dispatch.h"

namespace ans {

struct Nodes {
  Tensor places;       // int32 [n_nodes]: which of the distinct ones a node is, by first occurrence; -1: not wanted
  Tensor distinct_of;  // int32 [R]: which of the distinct ones each is
  int64_t n_distinct;

  int64_t count() const { return distinct_of.numel(); }
  const int32_t* of_position() const { return distinct_of.const_data_ptr<int32_t>(); }
};

inline Nodes distinct_nodes(const Tensor& nodes, int64_t n_nodes) {
  check_ids(nodes, "nodes", "[R]", {-1});
  const int64_t count = nodes.numel();
  Nodes found = {torch::stable::new_empty(nodes, {n_nodes}, ScalarType::Int),
                 torch::stable::new_empty(nodes, {count}, ScalarType::Int), 0};
  const int64_t* ids = nodes.const_data_ptr<int64_t>();
  check_ids_below(ids, count, "nodes", n_nodes);
  int32_t* places = found.places.mutable_data_ptr<int32_t>();
  int32_t* of_position = found.distinct_of.mutable_data_ptr<int32_t>();
  std::fill(places, places + n_nodes, -1);
  for (int64_t r = 0; r < count; ++r) {
    if (places[ids[r]] < 0) places[ids[r]] = static_cast<int32_t>(found.n_distinct++);
    of_position[r] = places[ids[r]];
  }
  return found;
}

// The distinct nodes' `rows` of `width` numbers, for every position.
template <typename T>
void repeat_rows(const Nodes& nodes, const T* rows, int64_t width, T* out) {
  const int64_t count = nodes.count();
  const int32_t* of_position = nodes.of_position();
#pragma omp parallel for num_threads(threads_for(count * width, 1 << 16))
  for (int64_t r = 0; r < count; ++r) std::memcpy(out + r * width, rows + of_position[r] * width, width * sizeof(T));
}

// The transpose: for every distinct node the sum of its positions' rows, in their order. Threads share out the columns.
template <typename T>
void sum_repeats(const Nodes& nodes, const T* rows, int64_t width, T* out) {
  constexpr int64_t line = 64 / sizeof(T);
  const int64_t count = nodes.count();
  const int32_t* of_position = nodes.of_position();
#pragma omp parallel for num_threads(threads_for(count * width, 1 << 16))
  for (int64_t begin = 0; begin < width; begin += line) {
    const int64_t end = std::min(begin + line, width);
    int64_t seen = 0;
    for (int64_t r = 0; r < count; ++r) {
      const T* row = rows + r * width;
      T* sum = out + of_position[r] * width;
      if (of_position[r] == seen) {
        ++seen;
        std::copy(row + begin, row + end, sum + begin);
      } else {
        for (int64_t d = begin; d < end; ++d) sum[d] += row[d];
      }
    }
  }
}

// The rows of all positions, a tensor of `shape`, from those of the distinct nodes.
inline Tensor for_positions(const Nodes& nodes, const Tensor& rows, std::initializer_list<int64_t> shape) {
  if (nodes.n_distinct == nodes.count()) return rows;
  Tensor out = torch::stable::new_empty(rows, shape);
  with_element_type(rows, "x", [&](auto zero) {
    using T = decltype(zero);
    repeat_rows(nodes, rows.const_data_ptr<T>(), rows.numel() / nodes.n_distinct, out.mutable_data_ptr<T>());
  });
  return out;
}

// The transpose.
inline Tensor for_distinct(const Nodes& nodes, const Tensor& rows, std::initializer_list<int64_t> shape) {
  if (nodes.n_distinct == nodes.count()) return rows;
  Tensor out = torch::stable::new_empty(rows, shape);
  with_element_type(rows, "grad", [&](auto zero) {
    using T = decltype(zero);
    sum_repeats(nodes, rows.const_data_ptr<T>(), rows.numel() / nodes.count(), out.mutable_data_ptr<T>());
  });
  return out;
}

}  // namespace ans
