// Rows of ids that repeat: copied to every position of an id, or summed up in the order of their positions.
#include "ops/repeats.h"

#include <string.h>

#include "cpu/pack.h"

namespace ans::cpu {
namespace {

void number(const FirstArgs& a) {
  for (int64_t id = 0; id < a.n; ++id) a.first[id] = -1;
  for (int64_t r = 0; r < a.n_ids; ++r)
    if (a.first[a.ids[r]] < 0) a.first[a.ids[r]] = static_cast<int32_t>(r);
}

template <typename T>
int threads_of(const RepeatArgs<T>& a, const Threads& threads) {
  return threads_for(threads, a.n_ids * a.width, 1 << 16);
}

template <typename T>
void copy(const RepeatArgs<T>& a, const Threads& threads) {
  const size_t bytes = sizeof(T) * static_cast<size_t>(a.width);
#pragma omp parallel for num_threads(threads_of(a, threads))
  for (int64_t r = 0; r < a.n_ids; ++r) {
    const int64_t first = a.first[a.ids[r]];
    if (first != r) memcpy(a.out + r * a.width, a.rows + first * a.width, bytes);
  }
}

// Every thread goes through the positions, and sums up the rows of ids that occur first in its own share of them. Sums
// of 16-bit rows are made in float32, beside `out`.
template <typename T>
void sum(const RepeatArgs<T>& a, const Threads& threads) {
  using S = Sum<T>;
  const int n_threads = threads_of(a, threads);
  S* sums;
  if constexpr (std::is_same_v<S, T>) sums = a.out;
  else sums = take<S>(threads.memory, a.n_ids * a.width);
#pragma omp parallel for num_threads(n_threads)
  for (int part = 0; part < n_threads; ++part) {
    const int64_t begin = a.n_ids * part / n_threads, end = a.n_ids * (part + 1) / n_threads;
    for (int64_t r = begin; r < a.n_ids; ++r) {
      const int64_t first = a.first[a.ids[r]];
      if (first < begin || first >= end) continue;
      const T* row = a.rows + r * a.width;
      S* out = sums + first * a.width;
      for_columns<S>(a.width, [&](auto kind, int64_t d) {
        const auto value = load<decltype(kind)>(row + d);
        if (first == r) store(out + d, value);
        else add_to(out + d, value);
      });
    }
    if constexpr (!std::is_same_v<S, T>)
      for (int64_t at = begin * a.width; at < end * a.width; ++at) store(a.out + at, sums[at]);
  }
}

}  // namespace

void ANS_ENTRY(find_first)(const FirstArgs& args, const Threads&) { number(args); }
ANS_DEFINE_ROW_KERNEL(copy_repeats, RepeatArgs, copy)
ANS_DEFINE_ROW_KERNEL(sum_repeats, RepeatArgs, sum)

}  // namespace ans::cpu
