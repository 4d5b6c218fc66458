// Augmented negative sampling in three passes over rows that sit in cache: forward by pair; backward by user's pairs (for
// u, p, their gate and the margin) and by item (for n and its gate). Both backward passes recompute the gates, and draw
// noise for the selected negatives alone. Every sum has one owner and a fixed order: no atomics, and the same bits at any
// number of threads.
#include "ops/ans_terms.h"

#include <math.h>

#include "common/ans_row.h"
#include "common/hardest.h"
#include "cpu/groups.h"
#include "cpu/noise.h"
#include "cpu/pack.h"
#include "cpu/threads.h"

namespace ans::cpu {
namespace {

constexpr int64_t kAhead = 4;  // negatives between the one at work and the one whose rows are fetched

template <typename T>
inline Sum<T> dot(const T* a, const T* b, int64_t dim) {
  return sum_columns<Sum<T>>(dim, [&](auto kind, int64_t d) {
    using V = decltype(kind);
    return load<V>(a + d) * load<V>(b + d);
  });
}

// The five rows of one (pair, hop, negative).
template <typename T>
struct Rows {
  const T *u, *p, *n, *user_gate, *item_gate;
};

template <typename T>
inline Rows<T> rows_with(const AnsInputs<T>& a, int64_t pair, int64_t hop, int64_t item) {
  const int64_t row = a.n_hops * a.dim, at = hop * a.dim;
  return {a.user_hops + a.users[pair] * row + at, a.item_hops + a.pos_items[pair] * row + at,
          a.item_hops + item * row + at, a.user_gate + pair * row + at, a.item_gate + item * row + at};
}

template <typename T>
inline Rows<T> rows_of(const AnsInputs<T>& a, int64_t pair, int64_t hop, int64_t negative) {
  return rows_with(a, pair, hop, a.neg_items[pair * a.n_negatives + negative]);
}

// The same for V: Sum<T> or a pack of them.
template <typename V>
struct Elements {
  V u, p, n, user_gate, item_gate;

  template <typename T>
  ANS_PACKED Elements(const Rows<T>& rows, int64_t d)
      : u(load<V>(rows.u + d)),
        p(load<V>(rows.p + d)),
        n(load<V>(rows.n + d)),
        user_gate(load<V>(rows.user_gate + d)),
        item_gate(load<V>(rows.item_gate + d)) {}

  ANS_PACKED V gate() const { return sigmoid(item_gate * user_gate); }
};

// Always inline: GCC drops a call that does nothing but fetch.
template <typename T>
ANS_PACKED void prefetch_negative(const Rows<T>& rows, int64_t dim) {
  prefetch_row(rows.n, dim);
  prefetch_row(rows.item_gate, dim);
}

// The rows that come kAhead after a negative's, be it in the next hop.
template <typename T>
ANS_PACKED void prefetch_ahead(const AnsInputs<T>& a, int64_t pair, int64_t hop, int64_t negative, int64_t count) {
  const int64_t ahead = negative + kAhead;
  if (ahead < count) prefetch_negative(rows_of(a, pair, hop, ahead), a.dim);
  else if (ahead < 2 * count && hop + 1 < a.n_hops) prefetch_negative(rows_of(a, pair, hop + 1, ahead - count), a.dim);
}

template <typename T>
ANS_PACKED void prefetch_pair(const Rows<T>& rows, int64_t dim) {
  prefetch_row(rows.u, dim);
  prefetch_row(rows.p, dim);
  prefetch_row(rows.user_gate, dim);
}

template <typename T>
inline RowSums<Sum<T>> forward_row(const Rows<T>& rows, const T* w, const Sum<T>* r, int64_t dim) {
  RowSums<Pack<Sum<T>>> packs = {};
  RowSums<Sum<T>> rest = {};
  for_columns<Sum<T>>(dim, [&](auto kind, int64_t d) {
    using V = decltype(kind);
    const Elements<V> e(rows, d);
    const RowSums<V> sums = forward_element(e.u, e.p, e.n, e.user_gate, e.item_gate, load<V>(w + d), load<V>(r + d));
    if constexpr (std::is_same_v<V, Sum<T>>) add(rest, sums);
    else add(packs, sums);
  });
  const Pack<Sum<T>> all[8] = {packs.score,  packs.contrast, packs.distance,     packs.orthogonality,
                               packs.margin, packs.noise,    packs.noise_square, Pack<Sum<T>>()};
  Sum<T> sums[8];
  sum_each(all, sums);
  add(rest, RowSums<Sum<T>>{sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6]});
  return rest;
}

template <typename V, typename T>
ANS_PACKED RowWeights<V> broadcast(const RowWeights<T>& weight) {
  return {V(weight.contrast), V(weight.distance), V(weight.orthogonality)};
}

template <typename V, typename T>
ANS_PACKED SelectedWeights<V> broadcast(const SelectedWeights<T>& weight) {
  return {V(weight.score), V(weight.margin), V(weight.noise)};
}

// Gradients to u, p and the user's gate.
template <typename T>
inline void backward_pair_row(const Rows<T>& rows, const RowWeights<Sum<T>>& weight, int64_t dim, Sum<T>* grad_u,
                              Sum<T>* grad_p, Sum<T>* grad_gate) {
  for_columns<Sum<T>>(dim, [&](auto kind, int64_t d) {
    using V = decltype(kind);
    const Elements<V> e(rows, d);
    const RowGradient<V> gradient = backward_element(e.u, e.p, e.n, e.gate(), broadcast<V>(weight));
    add_to(grad_u + d, gradient.u);
    add_to(grad_p + d, gradient.p);
    add_to(grad_gate + d, gradient.gates * e.item_gate);
  });
}

// Gradients to n and the item's gate.
template <typename T>
inline void backward_item_row(const Rows<T>& rows, const RowWeights<Sum<T>>& weight, int64_t dim, Sum<T>* grad_n,
                              Sum<T>* grad_gate) {
  for_columns<Sum<T>>(dim, [&](auto kind, int64_t d) {
    using V = decltype(kind);
    const Elements<V> e(rows, d);
    const RowGradient<V> gradient = backward_element(e.u, e.p, e.n, e.gate(), broadcast<V>(weight));
    add_to(grad_n + d, gradient.n);
    add_to(grad_gate + d, gradient.gates * e.user_gate);
  });
}

// What the selected negative adds to u, p, the user's gate and the margin's weight.
template <typename T>
inline void selected_pair_row(const Rows<T>& rows, const T* w, const Sum<T>* r, const SelectedWeights<Sum<T>>& weight,
                              int64_t dim, Sum<T>* grad_u, Sum<T>* grad_p, Sum<T>* grad_gate, Sum<T>* grad_w) {
  for_columns<Sum<T>>(dim, [&](auto kind, int64_t d) {
    using V = decltype(kind);
    const Elements<V> e(rows, d);
    const V gate = e.gate(), noise = noise_element(e.p, e.n, gate, load<V>(r + d));
    const SelectedGradient<V> gradient =
        selected_element(e.u, e.p, e.n, load<V>(w + d), gate, noise, broadcast<V>(weight));
    // The pair's own score is u·p, with the opposite weight of u·n'.
    add_to(grad_u + d, gradient.u - V(weight.score) * e.p);
    add_to(grad_p + d, gradient.p - V(weight.score) * e.u);
    add_to(grad_gate + d, gradient.gates * e.item_gate);
    add_to(grad_w + d, gradient.w);
  });
}

// What being selected adds to n and its gate.
template <typename T>
inline void selected_item_row(const Rows<T>& rows, const T* w, const SelectedWeights<Sum<T>>& weight, int64_t dim,
                              Sum<T>* grad_n, Sum<T>* grad_gate) {
  for_columns<Sum<T>>(dim, [&](auto kind, int64_t d) {
    using V = decltype(kind);
    const Elements<V> e(rows, d);
    const SelectedGradient<V> gradient =
        selected_element(e.u, e.p, e.n, load<V>(w + d), e.gate(), V(0), broadcast<V>(weight));
    add_to(grad_n + d, gradient.n);
    add_to(grad_gate + d, gradient.gates * e.user_gate);
  });
}

// The largest of 0 and z[0, size), and Σ e^(z − largest).
template <typename T>
struct Softmax {
  T largest, sum;
};

template <typename T>
inline Softmax<T> softmax_of(const T* __restrict__ z, int64_t size) {
  T largest = 0, sum = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t m = 0; m < size; ++m) largest = z[m] > largest ? z[m] : largest;
#pragma omp simd reduction(+ : sum)
  for (int64_t m = 0; m < size; ++m) sum += fast_exp(z[m] - largest);
  return {largest, sum};
}

template <typename T>
inline int64_t count_of(const AnsInputs<T>& a, int64_t pair) {
  return a.neg_count == nullptr ? a.n_negatives : a.neg_count[pair];
}

// The number of a (pair, negative, hop).
template <typename T>
inline int64_t row_number(const AnsInputs<T>& a, int64_t pair, int64_t hop, int64_t negative) {
  return (pair * a.n_negatives + negative) * a.n_hops + hop;
}

template <typename T>
inline int64_t noise_row(const AnsInputs<T>& a, int64_t pair, int64_t hop, int64_t negative) {
  return row_number(a, a.first_pair + pair, hop, negative);
}

template <typename T>
inline int count_threads(const AnsInputs<T>& a, const Threads& threads) {
  return threads_for(threads, a.n_pairs * a.n_negatives * a.n_hops * a.dim, 1 << 14);
}

// Scratch of each thread: two rows of all hops, sums of M rows, a row of noise, and a line so that threads share none.
template <typename T>
struct ThreadScratch {
  Sum<T>* data;
  int64_t size;

  ThreadScratch(const AnsInputs<T>& a, const Memory& memory, int n_threads)
      : size(2 * a.n_hops * a.dim + 5 * a.n_negatives + 3 * a.n_hops + a.dim +
             64 / static_cast<int64_t>(sizeof(Sum<T>))) {
    data = take<Sum<T>>(memory, n_threads * size);
  }
  Sum<T>* mine() const { return data + omp_get_thread_num() * size; }
};

// --- Forward ---------------------------------------------------------------------------------------------------------

template <typename T>
inline void forward_pair(const AnsForwardArgs<T>& a, uint64_t seed, int64_t pair, Sum<T>* scratch, double* terms) {
  using S = Sum<T>;
  const int64_t count = count_of(a, pair), n_negatives = a.n_negatives, n_hops = a.n_hops, dim = a.dim;
  const S bias = load<S>(a.margin_bias), eps = a.eps, noise_scale = a.noise_scale;
  S *margin = scratch, *noise = margin + n_negatives, *noise_square = noise + n_negatives;
  S *score = noise_square + n_negatives, *choice = score + n_negatives, *r = choice + n_negatives;
  S difference = 0;
  double sns = 0, distances = 0, orthogonalities = 0;
  for (int64_t hop = 0; hop < n_hops; ++hop) {
    S *contrast = a.saved + (pair * n_hops + hop) * 3 * n_negatives, *distance = contrast + n_negatives,
      *orthogonality = distance + n_negatives;
    for (int64_t m = 0; m < count; ++m) {
      prefetch_ahead(a, pair, hop, m, count);
      draw_noise(seed, noise_row(a, pair, hop, m), dim, r);
      const RowSums<S> sums = forward_row(rows_of(a, pair, hop, m), a.margin_weight, r, dim);
      contrast[m] = sums.contrast;
      distance[m] = sums.distance;
      orthogonality[m] = sums.orthogonality;
      margin[m] = sums.margin;
      noise[m] = sums.noise;
      noise_square[m] = sums.noise_square;
      score[m] = sums.score;
    }
    clear(contrast + count, n_negatives - count);
    clear(distance + count, n_negatives - count);
    clear(orthogonality + count, n_negatives - count);

    // The scalars of all negatives at once; `score` becomes u·n'.
    S distance_sum = 0, orthogonality_sum = 0;
#pragma omp simd reduction(+ : distance_sum, orthogonality_sum)
    for (int64_t m = 0; m < count; ++m) {
      const RowSums<S> sums = {score[m], 0, 0, 0, margin[m], noise[m], noise_square[m]};
      const RowScalars<S> scalars = row_scalars(sums, bias, eps, noise_scale);
      choice[m] = scalars.choice;
      score[m] += scalars.gain;
      distance[m] = sqrt(distance[m]);
      orthogonality[m] = sqrt(orthogonality[m]);
      distance_sum += distance[m];
      orthogonality_sum += orthogonality[m];
    }
    Hardest<S, Nothing> hardest = no_hardest(static_cast<S>(-INFINITY), count);
    for (int64_t m = 0; m < count; ++m) take(hardest, choice[m], m, {});
    const int64_t selected = hardest.id < count ? hardest.id : 0;
    a.selected[pair * n_hops + hop] = selected;
    const Softmax<S> softmax = softmax_of(contrast, count);
    sns += log_one_plus_sum(softmax.largest, softmax.sum);
    distances += distance_sum;
    orthogonalities += orthogonality_sum;
    const Rows<T> rows = rows_of(a, pair, hop, 0);
    difference += dot(rows.u, rows.p, dim) - score[selected];
  }
  a.differences[pair] = difference;
  terms[0] = bpr_of(difference).value;
  terms[1] = sns / static_cast<double>(n_hops);
  terms[2] = distances / static_cast<double>(count * n_hops);
  terms[3] = orthogonalities / static_cast<double>(count);
}

template <typename T>
void forward(const AnsForwardArgs<T>& a, const Threads& threads) {
  const int n_threads = count_threads(a, threads);
  const ThreadScratch<T> scratch(a, threads.memory, n_threads);
  double* const pair_terms = take<double>(threads.memory, 4 * a.n_pairs);
  const uint64_t seed = value_of(a.seed);
#pragma omp parallel for schedule(dynamic, 8) num_threads(n_threads)
  for (int64_t pair = 0; pair < a.n_pairs; ++pair) forward_pair(a, seed, pair, scratch.mine(), pair_terms + 4 * pair);
  double sums[4] = {0, 0, 0, 0};
  for (int64_t pair = 0; pair < a.n_pairs; ++pair)
    for (int term = 0; term < 4; ++term) sums[term] += pair_terms[4 * pair + term];
  for (int term = 0; term < 4; ++term)
    a.terms[term] = static_cast<Sum<T>>(a.n_pairs == 0 ? 0 : sums[term] / static_cast<double>(a.n_pairs));
}

// --- Backward --------------------------------------------------------------------------------------------------------

// Where a row's gradient is summed: in its own place, or `beside` it where that is too short for sums.
template <typename T>
inline Sum<T>* sums_of(T* row, Sum<T>* beside) {
  if constexpr (std::is_same_v<T, Sum<T>>) return row;
  else return beside;
}

template <typename T>
inline void store_sums(T* row, const Sum<T>* sums, int64_t size) {
  if constexpr (!std::is_same_v<T, Sum<T>>)
    for_columns<Sum<T>>(size, [&](auto kind, int64_t d) { store(row + d, load<decltype(kind)>(sums + d)); });
}

// What passes hand on to those that follow.
template <typename T>
struct Between {
  Sum<T>* row_weights;       // [B, M, H, 3]
  Sum<T>* selected_weights;  // [B, H, 2]
  Sum<T>* grad_positive;     // [B, H, D]
  Sum<T>* pair_margin;       // [B, D + 1]: a pair's share of the margin layer's gradients

  Between(const AnsInputs<T>& a, const Memory& memory)
      : row_weights(take<Sum<T>>(memory, a.n_pairs * a.n_negatives * a.n_hops * 3)),
        selected_weights(take<Sum<T>>(memory, a.n_pairs * a.n_hops * 2)),
        grad_positive(take<Sum<T>>(memory, a.n_pairs * a.n_hops * a.dim)),
        pair_margin(take<Sum<T>>(memory, a.n_pairs * (a.dim + 1))) {}
};

template <typename T>
inline void backward_pair(const AnsBackwardArgs<T>& a, const Between<T>& between, uint64_t seed, int64_t pair,
                          Sum<T>* grad_u, Sum<T>* scratch) {
  using S = Sum<T>;
  const int64_t count = count_of(a, pair), n_negatives = a.n_negatives, n_hops = a.n_hops, dim = a.dim;
  const S bias = load<S>(a.margin_bias), pairs = static_cast<S>(a.n_pairs), hops = static_cast<S>(n_hops);
  const int64_t row = n_hops * dim;
  S *weight = scratch + row, *hop_sums = weight + n_negatives, *r = hop_sums + 3 * n_hops;
  S* grad_p = between.grad_positive + pair * row;
  S* grad_gate = sums_of(a.grad.user_gate + pair * row, scratch);
  S* grad_w = between.pair_margin + pair * (dim + 1);
  clear(grad_p, row);
  clear(grad_gate, row);
  clear(grad_w, dim + 1);

  // The selected rows' sums again, for the slope of −log σ(u·p − u·n') and of the margin.
  S difference = 0;
  for (int64_t hop = 0; hop < n_hops; ++hop) {
    const int64_t m = a.selected[pair * n_hops + hop];
    const Rows<T> rows = rows_of(a, pair, hop, m);
    draw_noise(seed, noise_row(a, pair, hop, m), dim, r);
    const RowSums<S> sums = forward_row(rows, a.margin_weight, r, dim);
    difference += dot(rows.u, rows.p, dim) - sums.score - row_scalars(sums, bias, a.eps, a.noise_scale).gain;
    S* kept = hop_sums + 3 * hop;
    kept[0] = sums.margin;
    kept[1] = sums.noise;
    kept[2] = sums.noise_square;
  }
  const S slope = bpr_of(difference).slope * a.grad_terms[0] / pairs +
                  (a.grad_differences == nullptr ? S(0) : a.grad_differences[pair]);

  const S distance_weight = a.grad_terms[2] / (pairs * static_cast<S>(count) * hops);
  const S orthogonality_weight = a.grad_terms[3] / (pairs * static_cast<S>(count));
  for (int64_t hop = 0; hop < n_hops; ++hop) {
    const S *contrast = a.saved + (pair * n_hops + hop) * 3 * n_negatives, *distance = contrast + n_negatives,
            *orthogonality = distance + n_negatives;
    const Softmax<S> softmax = softmax_of(contrast, count);
    const S sns_weight = a.grad_terms[1] / (pairs * hops) / (fast_exp(-softmax.largest) + softmax.sum);
    const int64_t at = hop * dim;
#pragma omp simd
    for (int64_t m = 0; m < count; ++m) weight[m] = sns_weight * fast_exp(contrast[m] - softmax.largest);
    for (int64_t m = 0; m < count; ++m) {
      prefetch_ahead(a, pair, hop, m, count);
      const RowWeights<S> weights = {weight[m], over_norm(distance_weight, distance[m]),
                                     over_norm(orthogonality_weight, orthogonality[m])};
      S* kept = between.row_weights + 3 * row_number(a, pair, hop, m);
      kept[0] = weights.contrast;
      kept[1] = weights.distance;
      kept[2] = weights.orthogonality;
      backward_pair_row(rows_of(a, pair, hop, m), weights, dim, grad_u + at, grad_p + at, grad_gate + at);
    }
    const int64_t m = a.selected[pair * n_hops + hop];
    const S* sums = hop_sums + 3 * hop;
    const SelectedWeights<S> weights =
        selected_weights(RowSums<S>{0, 0, 0, 0, sums[0], sums[1], sums[2]}, bias, a.noise_scale, -slope);
    S* kept = between.selected_weights + 2 * (pair * n_hops + hop);
    kept[0] = weights.score;
    kept[1] = weights.margin;
    draw_noise(seed, noise_row(a, pair, hop, m), dim, r);
    selected_pair_row(rows_of(a, pair, hop, m), a.margin_weight, r, weights, dim, grad_u + at, grad_p + at,
                      grad_gate + at, grad_w);
    grad_w[dim] += weights.margin;
  }
  store_sums(a.grad.user_gate + pair * row, grad_gate, row);
}

// Fetches what `next`, the entry that follows, will read, meanwhile.
template <typename T>
inline void backward_negative(const AnsBackwardArgs<T>& a, const Between<T>& between, int64_t item, int64_t entry,
                              int64_t next, Sum<T>* grad_n, Sum<T>* grad_gate) {
  using S = Sum<T>;
  const int64_t pair = entry / a.n_negatives, m = entry % a.n_negatives, next_pair = next / a.n_negatives;
  prefetch_row(between.row_weights + 3 * next * a.n_hops, 3 * a.n_hops);
  for (int64_t hop = 0; hop < a.n_hops; ++hop) {
    const Rows<T> rows = rows_with(a, pair, hop, item);
    prefetch_pair(rows_with(a, next_pair, hop, item), a.dim);
    const S* kept = between.row_weights + 3 * (entry * a.n_hops + hop);
    const int64_t at = hop * a.dim;
    backward_item_row(rows, RowWeights<S>{kept[0], kept[1], kept[2]}, a.dim, grad_n + at, grad_gate + at);
    if (a.selected[pair * a.n_hops + hop] != m) continue;
    const S* selected = between.selected_weights + 2 * (pair * a.n_hops + hop);
    selected_item_row(rows, a.margin_weight, SelectedWeights<S>{selected[0], selected[1], 0}, a.dim, grad_n + at,
                      grad_gate + at);
  }
}

template <typename T>
void backward(const AnsBackwardArgs<T>& a, const Threads& threads) {
  using S = Sum<T>;
  const int64_t row = a.n_hops * a.dim, dim = a.dim, n_entries = a.n_pairs * a.n_negatives;
  const int n_threads = count_threads(a, threads);
  const ThreadScratch<T> scratch(a, threads.memory, n_threads);
  const Between<T> between(a, threads.memory);
  const uint64_t seed = value_of(a.seed);
  // The pairs by user; and by item the negatives (b · M + m), then the positives (B · M + b).
  const Groups users(threads.memory, a.n_users, a.n_pairs), items(threads.memory, a.n_items, n_entries + a.n_pairs);
  group_by(users, [&](auto member) {
    for (int64_t pair = 0; pair < a.n_pairs; ++pair) member(pair, a.users[pair]);
  });
  group_by(items, [&](auto member) {
    for (int64_t pair = 0; pair < a.n_pairs; ++pair)
      for (int64_t m = 0, count = count_of(a, pair), at = pair * a.n_negatives; m < count; ++m)
        member(at + m, a.neg_items[at + m]);
    for (int64_t pair = 0; pair < a.n_pairs; ++pair) member(n_entries + pair, a.pos_items[pair]);
  });

  for_each_group(users.start, users.n_groups, n_threads, [&](int64_t user) {
    T* const out = a.grad.user_hops + user * row;
    const int64_t begin = users.start[user], end = users.start[user + 1];
    if (begin == end) return clear(out, row);
    S *const mine = scratch.mine(), *const grad_u = sums_of(out, mine);
    clear(grad_u, row);
    for (int64_t at = begin; at < end; ++at) backward_pair(a, between, seed, users.order[at], grad_u, mine + row);
    store_sums(out, grad_u, row);
  });
  const int64_t n_members = items.start[items.n_groups];
  for_each_group(items.start, items.n_groups, n_threads, [&](int64_t item) {
    T *const out = a.grad.item_hops + item * row, *const gate_out = a.grad.item_gate + item * row;
    S* const mine = scratch.mine();
    S *const grad_n = sums_of(out, mine), *const grad_gate = sums_of(gate_out, mine + row);
    clear(grad_n, row);
    clear(grad_gate, row);
    for (int64_t at = items.start[item]; at < items.start[item + 1]; ++at) {
      const int64_t entry = items.order[at], next = items.order[at + 1 < n_members ? at + 1 : at];
      if (entry < n_entries)
        backward_negative(a, between, item, entry, next < n_entries ? next : entry, grad_n, grad_gate);
      else add(grad_n, between.grad_positive + (entry - n_entries) * row, row);
    }
    store_sums(out, grad_n, row);
    store_sums(gate_out, grad_gate, row);
  });

  S* const grad_w = sums_of(a.grad.margin_weight, scratch.mine());
  S* const grad_b = sums_of(a.grad.margin_bias, scratch.mine() + dim);
  clear(grad_w, dim);
  *grad_b = 0;
  for (int64_t pair = 0; pair < a.n_pairs; ++pair) {
    add(grad_w, between.pair_margin + pair * (dim + 1), dim);
    *grad_b += between.pair_margin[pair * (dim + 1) + dim];
  }
  store_sums(a.grad.margin_weight, grad_w, dim);
  store_sums(a.grad.margin_bias, grad_b, 1);
}

}  // namespace

ANS_DEFINE_ROW_KERNEL(ans_terms_forward, AnsForwardArgs, forward)
ANS_DEFINE_ROW_KERNEL(ans_terms_backward, AnsBackwardArgs, backward)

}  // namespace ans::cpu
