// Ids that are wanted in any order, some of them repeatedly: work is done once for each, for the position where it occurs
// first.
#pragma once

#include "common/kernel.h"

namespace ans {

struct FirstArgs {
  const int64_t* ids;  // [n_ids]; those out of [0, n) occur nowhere
  int64_t n_ids, n;
  int32_t* first;  // [n]: the first position of each id, or -1
};
ANS_KERNEL(find_first, FirstArgs)

template <typename T>
struct RepeatArgs {
  const int64_t* ids;    // [n_ids]
  const int32_t* first;  // [n], by find_first
  int64_t n_ids, n, width;
  const T* rows;  // [n_ids, width]
  T* out;         // [n_ids, width]
};
// out[r] = the row of the position where ids[r] occurs first, for `rows` and `out` the same; NaN for ids out of range.
ANS_ROW_KERNEL(copy_repeats, RepeatArgs)
// The transpose: where an id occurs first the sum of its rows, elsewhere anything.
ANS_ROW_KERNEL(sum_repeats, RepeatArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include "ops/call.h"

namespace ans::ops {

// The rows that an argument `nodes` names, of n_nodes; all of them where there is no such argument.
template <typename Device>
class Nodes {
 public:
  Nodes(Call<Device>& call, const std::optional<Tensor>& nodes, int64_t n_nodes) : call_(call), n_nodes_(n_nodes) {
    if (!nodes) return;
    ids_ = call.ids(*nodes, "nodes", "[R]", {-1});
    n_ids_ = nodes->numel();
    check_range("nodes' R", n_ids_, 0, INT32_MAX);
    if constexpr (Device::kReadsIds) check_ids_below(ids_, n_ids_, "nodes", n_nodes);
    int32_t* first = take<int32_t>(call.where().memory, n_nodes);
    find_first(FirstArgs{ids_, n_ids_, n_nodes, first}, call.where());
    first_ = first;
  }

  int64_t n_rows() const { return first_ ? n_ids_ : n_nodes_; }

  // [n_nodes], or null, all: the row of each node, or -1.
  const int32_t* row_of() const { return first_; }

  // rows [R, width] of which only first occurrences are there: fills in the others.
  template <typename T>
  void copy(T* rows, int64_t width) const {
    if (first_) copy_repeats(RepeatArgs<T>{ids_, first_, n_ids_, n_nodes_, width, rows, rows}, call_.where());
  }

  // rows [R, width], of which those of one node are summed up where it occurs first.
  template <typename T>
  const T* sum(const T* rows, int64_t width) const {
    if (!first_) return rows;
    T* sums = take<T>(call_.where().memory, n_ids_ * width);
    sum_repeats(RepeatArgs<T>{ids_, first_, n_ids_, n_nodes_, width, rows, sums}, call_.where());
    return sums;
  }

 private:
  Call<Device>& call_;
  const int64_t n_nodes_;
  const int64_t* ids_ = nullptr;
  int64_t n_ids_ = 0;
  const int32_t* first_ = nullptr;
};

}  // namespace ans::ops
#endif
