// The length of each node's row at each hop.
#pragma once

#include "common/kernel.h"

namespace ans {

template <typename T>
struct RowNormsArgs {
  const T* hops;  // [n_rows, dim], n_rows being nodes times hops
  int64_t n_rows, dim;
  Sum<T>* out;  // [n_rows]
};
ANS_ROW_KERNEL(row_norms, RowNormsArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include "ops/call.h"

namespace ans::ops {

constexpr char kRowNorms[] = "row_norms(Tensor hops) -> Tensor";

template <typename Device>
Tensor row_norms(Tensor hops) {
  Call<Device> call(hops, "hops");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    const T* rows = call.template rows<T>(hops, "hops", "[N, H, D]", {-1, -1, -1});
    check_range("hops' D", hops.size(2), 0, Device::kMaxDim);
    const auto out = call.template output<Sum<T>>({hops.size(0), hops.size(1)});
    const RowNormsArgs<T> args = {rows, out.tensor.numel(), hops.size(2), out.data};
    if (args.n_rows > 0) row_norms(args, call.where());
    return out.tensor;
  });
}

}  // namespace ans::ops
#endif
