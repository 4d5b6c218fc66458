// Items that a user has not clicked, drawn from the user's sorted positives without listing the others.
#pragma once

#include "inline.h"
#include "ops/sample_negatives.h"
#include "philox.h"

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

// The items that may be drawn for a user, `count` of them: none where there is no such user or the graph is broken.
struct Allowed {
  const int32_t* positives;  // node ids (n_users + item) of the user's items, ascending, from `first` on
  int64_t n_positives;
  int64_t first;  // the node id of the first item that may be drawn
  int64_t count;
};

ANS_INLINE Allowed allowed_of(const SampleArgs& a, int64_t user) {
  if (user < 0 || user >= a.n_users) return {};
  const int64_t begin = a.indptr[user], end = a.indptr[user + 1], first = a.n_users + a.first_item;
  if (begin < 0 || begin > end || end > a.n_indices) return {};
  const int64_t skipped = a.first_item == 0 ? 0 : count_below(a.indices + begin, end - begin, first);
  const int64_t size = end - begin - skipped;
  return {a.indices + begin + skipped, size, first, a.n_items - a.first_item - size};
}

// Node ids of the non-positives at several ranks. Below positives[j] lie positives[j] − first − j non-positives, which
// grows with j: an answer is first + rank + (the number of positives with at most `rank` below). The ranks are looked up
// in step, without a branch that depends on what one of them finds.
template <int Count>
ANS_INLINE void nth_non_positives(const Allowed& allowed, const int64_t (&rank)[Count], int64_t (&nth)[Count]) {
  int64_t low[Count] = {};
  for (int64_t left = allowed.n_positives; left > 0;) {
    const int64_t half = (left + 1) / 2;
    for (int j = 0; j < Count; ++j) {
      const int64_t middle = low[j] + half - 1;
      low[j] += allowed.positives[middle] - allowed.first - middle <= rank[j] ? half : 0;
    }
    left -= half;
  }
  for (int j = 0; j < Count; ++j) nth[j] = allowed.first + rank[j] + low[j];
}

template <int Count>
ANS_INLINE void draw_some(const SampleArgs& a, uint64_t seed, const Allowed& allowed, int64_t row,
                          int64_t block) {
  const PhiloxBlock words = philox(seed, static_cast<uint64_t>(row), static_cast<uint32_t>(block), kSamplingStream);
  int64_t rank[Count], nth[Count];
  for (int j = 0; j < Count; ++j) rank[j] = below(words.word[j], static_cast<uint32_t>(allowed.count));
  nth_non_positives(allowed, rank, nth);
  const int64_t begin = 4 * block;
  for (int64_t j = 0; j < Count && begin + j < a.n_negatives; ++j)
    a.out[row * a.n_negatives + begin + j] = nth[j] - a.n_users;
}

// The up to four draws of a block of a row, if anything is allowed. A single one is not worth four lookups.
ANS_INLINE void draw_block(const SampleArgs& a, uint64_t seed, const Allowed& allowed, int64_t row,
                           int64_t block) {
  if (4 * block + 1 == a.n_negatives) draw_some<1>(a, seed, allowed, row, block);
  else draw_some<4>(a, seed, allowed, row, block);
}

}  // namespace ans
