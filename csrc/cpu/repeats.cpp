// Rows of ids that repeat: copied to every position of an id, or summed up in the order of their positions.
#include "ops/repeats.h"

#include <string.h>

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

// Threads share out the columns.
template <typename T>
void sum(const RepeatArgs<T>& a, const Threads& threads) {
  constexpr int64_t line = 64 / sizeof(T);
#pragma omp parallel for num_threads(threads_of(a, threads))
  for (int64_t begin = 0; begin < a.width; begin += line) {
    const int64_t end = begin + line < a.width ? begin + line : a.width;
    for (int64_t r = 0; r < a.n_ids; ++r) {
      const int64_t first = a.first[a.ids[r]];
      const T* row = a.rows + r * a.width;
      T* out = a.out + first * a.width;
      if (first == r) memcpy(out + begin, row + begin, sizeof(T) * static_cast<size_t>(end - begin));
      else
        for (int64_t d = begin; d < end; ++d) out[d] += row[d];
    }
  }
}

}  // namespace

void ANS_ENTRY(find_first)(const FirstArgs& args, const Threads&) { number(args); }
ANS_DEFINE_ROW_KERNEL(copy_repeats, RepeatArgs, copy)
ANS_DEFINE_ROW_KERNEL(sum_repeats, RepeatArgs, sum)

}  // namespace ans::cpu
