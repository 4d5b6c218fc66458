// What choosing the hardest candidate is made of: a column's share of the score, and the running choice.
#pragma once

#include <cstdint>

#include "exp.h"
#include "inline.h"

namespace ans {

// What a column adds to the score u·(rest n − n ⊙ σ(item_gate + pos_gate)). T: a number, or several in a register.
template <typename T>
ANS_INLINE T gated_element(T u, T n, T item_gate, T pos_gate, T rest) {
  return u * n * (rest - sigmoid(item_gate + pos_gate));
}

// The highest score so far and whose it is; no item yet below 0.
template <typename T>
struct Hardest {
  T score = 0;
  int64_t item = -1;
};

// The first of equal scores stays; so does a NaN that comes first, and any other is passed over.
template <typename T>
ANS_INLINE void take(Hardest<T>& best, T score, int64_t item) {
  if (best.item < 0 || score > best.score) best = {score, item};
}

}  // namespace ans
