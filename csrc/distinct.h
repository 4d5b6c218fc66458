// Ids that are wanted in any order, some of them more than once: each is worked on once.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include "dispatch.h"

namespace ans {

struct Distinct {
  Tensor places;       // int32 [n]: which of the distinct ones an id is, by first occurrence; -1: not wanted
  Tensor distinct_of;  // int32 [R]: which of the distinct ones each is
  int64_t n_distinct;

  int64_t count() const { return distinct_of.numel(); }
  const int32_t* of_position() const { return distinct_of.const_data_ptr<int32_t>(); }
};

// Of wanted [R], in [0, n); `name` and `shape` are for messages.
inline Distinct distinct_ids(const Tensor& wanted, const char* name, const char* shape, int64_t n) {
  check_ids(wanted, name, shape, {-1});
  const int64_t count = wanted.numel();
  Distinct found = {torch::stable::new_empty(wanted, {n}, ScalarType::Int),
                    torch::stable::new_empty(wanted, {count}, ScalarType::Int), 0};
  const int64_t* ids = wanted.const_data_ptr<int64_t>();
  check_ids_below(ids, count, name, n);
  int32_t* places = found.places.mutable_data_ptr<int32_t>();
  int32_t* of_position = found.distinct_of.mutable_data_ptr<int32_t>();
  std::fill(places, places + n, -1);
  for (int64_t r = 0; r < count; ++r) {
    if (places[ids[r]] < 0) places[ids[r]] = static_cast<int32_t>(found.n_distinct++);
    of_position[r] = places[ids[r]];
  }
  return found;
}

// The distinct ids' `rows` of `width` numbers, for every position.
template <typename T>
void repeat_rows(const Distinct& ids, const T* rows, int64_t width, T* out) {
  const int64_t count = ids.count();
  const int32_t* of_position = ids.of_position();
#pragma omp parallel for num_threads(threads_for(count * width, 1 << 16))
  for (int64_t r = 0; r < count; ++r) std::memcpy(out + r * width, rows + of_position[r] * width, width * sizeof(T));
}

// The transpose: for every distinct id the sum of its positions' rows, in their order. Threads share out the columns.
template <typename T>
void sum_repeats(const Distinct& ids, const T* rows, int64_t width, T* out) {
  constexpr int64_t line = 64 / sizeof(T);
  const int64_t count = ids.count();
  const int32_t* of_position = ids.of_position();
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

// The rows of all positions, a tensor of `shape`, from those of the distinct ids.
inline Tensor for_positions(const Distinct& ids, const Tensor& rows, std::initializer_list<int64_t> shape) {
  if (ids.n_distinct == ids.count()) return rows;
  Tensor out = torch::stable::new_empty(rows, shape);
  with_element_type(rows, "x", [&](auto zero) {
    using T = decltype(zero);
    repeat_rows(ids, rows.const_data_ptr<T>(), rows.numel() / ids.n_distinct, out.mutable_data_ptr<T>());
  });
  return out;
}

// The transpose.
inline Tensor for_distinct(const Distinct& ids, const Tensor& rows, std::initializer_list<int64_t> shape) {
  if (ids.n_distinct == ids.count()) return rows;
  Tensor out = torch::stable::new_empty(rows, shape);
  with_element_type(rows, "grad", [&](auto zero) {
    using T = decltype(zero);
    sum_repeats(ids, rows.const_data_ptr<T>(), rows.numel() / ids.count(), out.mutable_data_ptr<T>());
  });
  return out;
}

}  // namespace ans
