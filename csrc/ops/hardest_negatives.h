// Of each pair's candidates the hardest, hop by hop.
#pragma once

#include "common/kernel.h"

namespace ans {

// B pairs, K negatives for each of them, M candidates for each negative, H hops, D values a row.
template <typename T>
struct HardestArgs {
  const T* user_rows;         // [B, H, D]
  const T* item_hops;         // [n_items, H, D]
  const int64_t* candidates;  // [B, K, M]
  const T* item_gate;         // [n_items, H, D], or null: no gates
  const T* pos_gate;          // [B, H, D], where there is an item_gate
  Number<double> rest;        // where there are gates
  int64_t n_items, n_pairs, n_negatives, n_candidates, n_hops, dim;
  int64_t* hardest;  // [B, K, H]; kNoItem among candidates one of which is not in [0, n_items)
};
ANS_ROW_KERNEL(hardest_negatives, HardestArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include "ops/call.h"

namespace ans::ops {

constexpr char kHardestNegatives[] =
    "hardest_negatives(Tensor user_rows, Tensor item_hops, Tensor candidates, Tensor? item_gate, Tensor? pos_gate, "
    "Tensor? rest) -> Tensor";

template <typename Device>
Tensor hardest_negatives(Tensor user_rows, Tensor item_hops, Tensor candidates, std::optional<Tensor> item_gate,
                         std::optional<Tensor> pos_gate, std::optional<Tensor> rest) {
  Call<Device> call(user_rows, "user_rows");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    HardestArgs<T> args = {};
    args.user_rows = call.template rows<T>(user_rows, "user_rows", "[B, H, D]", {-1, -1, -1});
    args.n_pairs = user_rows.size(0);
    args.n_hops = user_rows.size(1);
    args.dim = user_rows.size(2);
    check_range("user_rows' D", args.dim, 0, Device::kMaxDim);
    args.item_hops = call.template rows<T>(item_hops, "item_hops", "[n_items, H, D]", {-1, args.n_hops, args.dim});
    args.n_items = item_hops.size(0);
    args.candidates = call.ids(candidates, "candidates", "[B, K, M]", {args.n_pairs, -1, -1});
    args.n_negatives = candidates.size(1);
    args.n_candidates = candidates.size(2);
    check_range("candidates' M", args.n_candidates, 1, INT32_MAX);
    if (item_gate.has_value() != pos_gate.has_value() || item_gate.has_value() != rest.has_value())
      fail("item_gate, pos_gate and rest must come together");
    if (item_gate) {
      args.item_gate = call.template rows<T>(*item_gate, "item_gate", "[n_items, H, D]",
                                             {args.n_items, args.n_hops, args.dim});
      args.pos_gate = call.template rows<T>(*pos_gate, "pos_gate", "[B, H, D]", {args.n_pairs, args.n_hops, args.dim});
      args.rest = call.template number<double>(*rest, "rest");
    }
    if (candidates.numel() > 0) check_range("item_hops' n_items", args.n_items, 1, INT64_MAX);
    if constexpr (Device::kReadsIds)
      check_ids_below(args.candidates, candidates.numel(), "candidates", args.n_items);
    const auto out = call.template output<int64_t>({args.n_pairs, args.n_negatives, args.n_hops});
    args.hardest = out.data;
    if (out.tensor.numel() > 0) hardest_negatives(args, call.where());
    return out.tensor;
  });
}

}  // namespace ans::ops
#endif
