// The r-th item that a user has not clicked, found in the user's sorted positives without listing the others.
#pragma once

#include <cstdint>

#include "inline.h"

namespace ans {

// The number of values in sorted[0, size) that are below bound.
ANS_INLINE int64_t count_below(const int32_t* sorted, int64_t size, int64_t bound) {
  int64_t low = 0;
  for (int64_t high = size; low < high;) {
    const int64_t middle = (low + high) / 2;
    if (sorted[middle] < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

// `positives` are the node ids of one user's items (n_users + item), ascending, from the first that is ≥ `first` on;
// `first` is the node id of the first item that may be drawn. Below positives[j] lie positives[j] − first − j
// non-positives, which grows with j: the answer is first + rank + (the number of positives with at most `rank` below).
ANS_INLINE int64_t nth_non_positive(const int32_t* positives, int64_t size, int64_t first, int64_t rank) {
  int64_t low = 0;
  for (int64_t high = size; low < high;) {
    const int64_t middle = (low + high) / 2;
    if (positives[middle] - first - middle <= rank) low = middle + 1;
    else high = middle;
  }
  return first + rank + low;
}

}  // namespace ans
