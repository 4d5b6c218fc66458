// The loss of a clicked item's score against those of negatives: −log of the mean of σ(clicked − negative) weighted by the
// negatives' softmax. T is float or double.
#pragma once

#include "exp.h"
#include "inline.h"

namespace ans {

constexpr double kLeastChance = 1e-8;           // whatever is less likely costs no more
constexpr double kLargestLoss = 18.420680743952367;  // −log of it

// The loss of one negative, `gap` above the clicked item, and its slope by the gap.
template <typename T>
ANS_INLINE T loss_of_gap(T gap, T& slope) {
  const T small = fast_exp(gap < T(0) ? gap : -gap), share = T(1) / (T(1) + small);
  const T loss = (gap > T(0) ? gap : T(0)) + log_one_plus(small), largest = T(kLargestLoss);
  slope = loss > largest ? T(0) : (gap > T(0) ? share : small * share);
  return loss > largest ? largest : loss;
}

// The loss of scores[0, width), the clicked item's first, of at least one negative. Where `slopes` are wanted they become
// its slopes by the scores times `weight`.
template <typename T>
ANS_INLINE T loss_of_scores(const T* scores, int64_t width, T weight, T* slopes) {
  const T clicked = scores[0];
  if (width == 2) {  // the same in fewer steps
    T slope;
    const T loss = loss_of_gap(scores[1] - clicked, slope);
    if (slopes != nullptr) {
      slopes[0] = -weight * slope;
      slopes[1] = weight * slope;
    }
    return loss;
  }
  T largest = scores[1];
  for (int64_t i = 2; i < width; ++i) largest = scores[i] > largest ? scores[i] : largest;
  T total = 0, chance = 0, spread = 0;
  for (int64_t i = 1; i < width; ++i) {
    const T share = fast_exp(scores[i] - largest), above = sigmoid(clicked - scores[i]);
    total += share;
    chance += share * above;
    spread += share * above * (T(1) - above);
  }
  chance /= total;
  const T least = T(kLeastChance), most = T(1) - least;
  if (slopes != nullptr) {
    const T outer = chance >= least && chance <= most ? -weight / (chance * total) : T(0);
    slopes[0] = outer * spread;
    for (int64_t i = 1; i < width; ++i) {
      const T share = fast_exp(scores[i] - largest), above = sigmoid(clicked - scores[i]);
      slopes[i] = outer * share * (above * above - chance);
    }
  }
  return -log(chance < least ? least : (chance > most ? most : chance));
}

}  // namespace ans
