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

// Threads share out the columns. Sums of 16-bit rows are made in float32, beside `out`.
template <typename T>
void sum(const RepeatArgs<T>& a, const Threads& threads) {
  using S = Sum<T>;
  constexpr int64_t line = 64 / sizeof(T);
  S* sums;
  if constexpr (std::is_same_v<S, T>) sums = a.out;
  else sums = take<S>(threads.memory, a.n_ids * a.width);
#pragma omp parallel for num_threads(threads_of(a, threads))
  for (int64_t begin = 0; begin < a.width; begin += line) {
    const int64_t end = begin + line < a.width ? begin + line : a.width;
    for (int64_t r = 0; r < a.n_ids; ++r) {
      const int64_t first = a.first[a.ids[r]];
      const T* row = a.rows + r * a.width;
      S* out = sums + first * a.width;
      for (int64_t d = begin; d < end; ++d) {
        const S value = load<S>(row + d);
        out[d] = first == r ? value : out[d] + value;
      }
    }
    if constexpr (!std::is_same_v<S, T>)
      for (int64_t r = 0; r < a.n_ids; ++r)
        for (int64_t d = r * a.width + begin; d < r * a.width + end; ++d) store(a.out + d, sums[d]);
  }
}

}  // namespace

void ANS_ENTRY(find_first)(const FirstArgs& args, const Threads&) { number(args); }
ANS_DEFINE_ROW_KERNEL(copy_repeats, RepeatArgs, copy)
ANS_DEFINE_ROW_KERNEL(sum_repeats, RepeatArgs, sum)

}  // namespace ans::cpu
