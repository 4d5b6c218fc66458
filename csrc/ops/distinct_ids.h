// The ids that occur, each once. How many they are is not known on the host: outputs have room for the most possible.
#pragma once

#include "common/kernel.h"

namespace ans {

struct DistinctArgs {
  const int64_t* ids;  // [n_ids]; those out of [0, n) are left out
  int64_t n_ids, n;
  int64_t n_places;   // min(n_ids, n)
  int64_t* distinct;  // [n_places], ascending; from count on the first of them again, or 0 where there is none
  int64_t* place;     // [n]: where each id is in `distinct`; -1: nowhere
  int64_t* count;     // [1]
};
ANS_KERNEL(distinct_ids, DistinctArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include <algorithm>
#include <tuple>

#include "ops/call.h"

namespace ans::ops {

constexpr char kDistinctIds[] = "distinct_ids(Tensor ids, int n) -> (Tensor, Tensor, Tensor)";

template <typename Device>
std::tuple<Tensor, Tensor, Tensor> distinct_ids(Tensor ids, int64_t n) {
  Call<Device> call(ids, "ids");
  check_range("n", n, 0, INT32_MAX);
  DistinctArgs args = {};
  args.ids = call.ids(ids, "ids", "[R]", {-1});
  args.n_ids = ids.numel();
  args.n = n;
  args.n_places = std::min(args.n_ids, n);
  if constexpr (Device::kReadsIds) check_ids_below(args.ids, args.n_ids, "ids", n);
  const auto distinct = call.template output<int64_t>({args.n_places});
  const auto place = call.template output<int64_t>({n});
  const auto count = call.template output<int64_t>({1});
  args.distinct = distinct.data;
  args.place = place.data;
  args.count = count.data;
  distinct_ids(args, call.where());
  return {distinct.tensor, place.tensor, count.tensor};
}

}  // namespace ans::ops
#endif
