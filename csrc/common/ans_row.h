// Augmented negative sampling for one (pair, hop, negative): its rows u, p, n of D values, an element at a time.
//
// Notation of Zhao et al., RecSys 2023: the gate g = σ(item_gate · user_gate) splits n into hard n·g and easy n·(1 − g),
// and p likewise. What a row needs from its D elements are seven sums (RowSums); everything else is a few scalars
// (RowScalars). A kernel only loads, sums and stores: CPU and CUDA share every formula below. T is float or double, and
// for single elements also several of them in a register.
#pragma once

#include "exp.h"
#include "inline.h"

namespace ans {

// Sums over a row of what forward_element returns.
template <typename T>
struct RowSums {
  T score;           // u·n
  T contrast;        // u·easy − u·hard
  T distance;        // ‖hard − hard_positive + 1e-6‖²
  T orthogonality;   // ‖easy_positive ⊙ easy‖²
  T margin;          // w·(hard ⊙ hard_positive), the margin's logit less its bias
  T noise;           // u·(sign(easy_positive − easy) ⊙ r)
  T noise_square;    // ‖r‖²
};

template <typename T>
ANS_INLINE void add(RowSums<T>& to, const RowSums<T>& e) {
  to.score += e.score;
  to.contrast += e.contrast;
  to.distance += e.distance;
  to.orthogonality += e.orthogonality;
  to.margin += e.margin;
  to.noise += e.noise;
  to.noise_square += e.noise_square;
}

template <typename T>
ANS_INLINE T sign(T x) {
  return x > T(0) ? T(1) : (x < T(0) ? T(-1) : T(0));
}

// sign(easy_positive − easy) · r: the noise before its length and margin. Written as one product, since a fused
// multiply-add would leave the rounding error of p·(1 − g) − n·(1 − g) as a sign where p = n.
template <typename T>
ANS_INLINE T noise_element(T p, T n, T gate, T r) {
  return sign((p - n) * (T(1) - gate)) * r;
}

template <typename T>
ANS_INLINE RowSums<T> forward_element(T u, T p, T n, T user_gate, T item_gate, T w, T r) {
  const T gate = sigmoid(item_gate * user_gate), rest = T(1) - gate;
  const T hard = n * gate, easy = n * rest, hard_positive = p * gate, easy_positive = p * rest;
  const T gap = hard - hard_positive + T(1e-6), overlap = easy_positive * easy;
  return {u * n,
          u * (easy - hard),
          gap * gap,
          overlap * overlap,
          w * (hard * hard_positive),
          u * noise_element(p, n, gate, r),
          r * r};
}

// σ(1/x) and its derivative. Near x = 0 the margin is 0 or 1 to the last bit and its slope is 0.
template <typename T>
struct Margin {
  T value, slope;
};

template <typename T>
ANS_INLINE Margin<T> margin_of(T x) {
  constexpr T limit = 80;
  const bool saturated = (x < T(0) ? -x : x) < T(1) / limit;
  const T inverse = saturated ? (x < T(0) ? -limit : limit) : T(1) / x;
  const T value = sigmoid(inverse);
  return {value, saturated ? T(0) : -value * sigmoid(-inverse) * inverse * inverse};
}

// 1/‖r‖, or 0 where r is 0 throughout.
template <typename T>
ANS_INLINE T inverse_length(T square) {
  return square > T(0) ? T(1) / sqrt(square) : T(0);
}

template <typename T>
struct RowScalars {
  T gain;      // u·δ, what the noise adds to the score
  T choice;    // the selection score u·n + (1 + eps) u·δ
};

template <typename T>
ANS_INLINE RowScalars<T> row_scalars(const RowSums<T>& sums, T margin_bias, T eps, T noise_scale) {
  const T margin = margin_of(sums.margin + margin_bias).value;
  const T gain = sums.noise * inverse_length(sums.noise_square) * margin * noise_scale;
  return {gain, sums.score + (T(1) + eps) * gain};
}

// log(1 + Σ e^z) from the largest of 0 and all z, and Σ e^(z − largest) over the z alone.
template <typename T>
ANS_INLINE T log_one_plus_sum(T largest, T sum) {
  return largest + log(fast_exp(-largest) + sum);
}

// −log(1e-10 + σ(difference)) and its derivative.
template <typename T>
struct BprLoss {
  T value, slope;
};

template <typename T>
ANS_INLINE BprLoss<T> bpr_of(T difference) {
  const T s = sigmoid(difference);
  return {-log(T(1e-10) + s), -s * sigmoid(-difference) / (T(1e-10) + s)};
}

// d loss / d (…) for one row: what backward_element multiplies its elements with.
template <typename T>
struct RowWeights {
  T contrast;       // of contrast
  T distance;       // of ‖·‖, over ‖·‖: 0 at a zero norm
  T orthogonality;  // likewise
};

template <typename T>
ANS_INLINE T over_norm(T weight, T norm) {
  return norm > T(0) ? weight / norm : T(0);
}

// What every negative gives back to u, p, n and to the product of its gates' projections.
template <typename T>
struct RowGradient {
  T u, p, n, gates;  // × item_gate goes to user_gate, × user_gate to item_gate
};

template <typename T>
ANS_INLINE RowGradient<T> backward_element(T u, T p, T n, T gate, const RowWeights<T>& weight) {
  const T rest = T(1) - gate, difference = n - p, rest2 = rest * rest;
  const T gap = weight.distance * (difference * gate + T(1e-6));
  const T overlap = weight.orthogonality * (p * n * rest2);
  const T split = weight.contrast * (rest - gate);
  const T gates = gap * difference - T(2) * (weight.contrast * u * n + overlap * p * n * rest);
  return {split * n, overlap * n * rest2 - gap * gate, split * u + gap * gate + overlap * p * rest2,
          gates * gate * rest};
}

// d loss / d (…) for the selected negative of a (pair, hop), beyond what every negative gives.
template <typename T>
struct SelectedWeights {
  T score;   // of u·n'
  T margin;  // of the margin's logit
  T noise;   // margin · noise_scale / ‖r‖: what makes the noise of noise_element
};

template <typename T>
ANS_INLINE SelectedWeights<T> selected_weights(const RowSums<T>& sums, T margin_bias, T noise_scale, T score_weight) {
  const Margin<T> margin = margin_of(sums.margin + margin_bias);
  const T scale = noise_scale * inverse_length(sums.noise_square);
  return {score_weight, score_weight * sums.noise * scale * margin.slope, margin.value * scale};
}

template <typename T>
struct SelectedGradient {
  T u, p, n, gates, w;
};

// `noise` is noise_element(p, n, gate, r); what reaches n alone needs no noise, so it may be 0 there.
template <typename T>
ANS_INLINE SelectedGradient<T> selected_element(T u, T p, T n, T w, T gate, T noise,
                                                const SelectedWeights<T>& weight) {
  const T gate2 = gate * gate, pull = weight.margin * w;
  return {weight.score * (n + noise * weight.noise), pull * n * gate2, weight.score * u + pull * p * gate2,
          T(2) * pull * n * p * gate2 * (T(1) - gate), weight.margin * n * p * gate2};
}

}  // namespace ans
