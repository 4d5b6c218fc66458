// The hardest of several candidates: the one with the highest score.
#pragma once

#include <cstdint>

#include "exp.h"
#include "inline.h"

namespace ans {

// The hardest candidate so far. A score is taken if it is higher, of equal ones that of the lowest id, a NaN never: so
// the hardest does not depend on the order of taking. Payload: what else is kept of the hardest.
template <typename T, typename Payload>
struct Hardest {
  T score;
  int64_t id;
  Payload payload;
};

struct Nothing {};

// No candidate yet: one with the id `none`, which is above all ids, and a score below all scores. It stays where all
// scores are NaN.
template <typename T, typename Payload = Nothing>
ANS_INLINE Hardest<T, Payload> no_hardest(T lowest, int64_t none, Payload payload = {}) {
  return {lowest, none, payload};
}

template <typename T, typename Payload>
ANS_INLINE void take(Hardest<T, Payload>& hardest, T score, int64_t id, Payload payload) {
  if (score > hardest.score || (score == hardest.score && id < hardest.id)) hardest = {score, id, payload};
}

// What a column adds to the score u·(rest n − n ⊙ σ(item_gate + pos_gate)). T: a number, or several in a register.
template <typename T>
ANS_INLINE T gated_element(T u, T n, T item_gate, T pos_gate, T rest) {
  return u * n * (rest - sigmoid(item_gate + pos_gate));
}

}  // namespace ans
