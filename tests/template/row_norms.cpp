// A row at a time, several of its numbers in a register.
#include "row_norms.h"

#include <math.h>

#include "cpu/pack.h"

namespace ans::cpu {
namespace {

template <typename T>
void norms(const RowNormsArgs<T>& a, const Threads& threads) {
#pragma omp parallel for schedule(static) num_threads(threads_for(threads, a.n_rows * a.dim, 1 << 16))
  for (int64_t row = 0; row < a.n_rows; ++row) {
    const T* x = a.hops + row * a.dim;
    a.out[row] = sqrt(sum_columns<Sum<T>>(a.dim, [=](auto kind, int64_t d) {
      const auto value = load<decltype(kind)>(x + d);
      return value * value;
    }));
  }
}

}  // namespace

ANS_DEFINE_ROW_KERNEL(row_norms, RowNormsArgs, norms)

}  // namespace ans::cpu
