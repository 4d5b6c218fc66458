// Of each query, the logarithm of the sum of exponentials of its products with all keys: a softmax's denominator.
#pragma once

#include "common/kernel.h"

namespace ans {

// B queries and N keys of D values. The score of a pair is scale q·k + key_bias; a pair with equal ids has none.
template <typename T>
struct LogSumExpArgs {
  const T* queries;          // [B, D]
  const T* keys;             // [N, D]
  const int64_t* query_ids;  // [B] and
  const int64_t* key_ids;    // [N], or both null: every pair counts
  const Sum<T>* key_bias;    // [N], or null: zeros
  Sum<T> scale;
  int64_t n_queries, n_keys, dim;
  Sum<T>* log_sums;  // [B]; -inf where no pair counts
};
ANS_ROW_KERNEL(log_sum_exp, LogSumExpArgs)

template <typename T>
struct LogSumExpBackwardArgs {
  LogSumExpArgs<T> inputs;  // log_sums are those of the forward pass
  const Sum<T>* grad;       // [B], of log_sums
  Sum<T>* grad_queries;     // [B, D]
  Sum<T>* grad_keys;        // [N, D]
};
ANS_ROW_KERNEL(log_sum_exp_backward, LogSumExpBackwardArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include <tuple>

#include "ops/call.h"

namespace ans::ops {

constexpr char kLogSumExp[] =
    "log_sum_exp(Tensor queries, Tensor keys, Tensor? query_ids, Tensor? key_ids, Tensor? key_bias, float scale) "
    "-> Tensor";
constexpr char kLogSumExpBackward[] =
    "log_sum_exp_backward(Tensor grad, Tensor log_sums, Tensor queries, Tensor keys, Tensor? query_ids, "
    "Tensor? key_ids, Tensor? key_bias, float scale) -> (Tensor, Tensor)";

template <typename T, typename Device>
LogSumExpArgs<T> log_sum_exp_inputs(Call<Device>& call, const Tensor& queries, const Tensor& keys,
                                    const std::optional<Tensor>& query_ids, const std::optional<Tensor>& key_ids,
                                    const std::optional<Tensor>& key_bias, double scale) {
  LogSumExpArgs<T> args = {};
  args.queries = call.template rows<T>(queries, "queries", "[B, D]", {-1, -1});
  args.n_queries = queries.size(0);
  args.dim = queries.size(1);
  args.keys = call.template rows<T>(keys, "keys", "[N, D]", {-1, args.dim});
  args.n_keys = keys.size(0);
  check_range("keys' N", args.n_keys, 0, INT32_MAX);
  if (query_ids.has_value() != key_ids.has_value()) fail("query_ids and key_ids must come together");
  if (query_ids) {
    args.query_ids = call.ids(*query_ids, "query_ids", "[B]", {args.n_queries});
    args.key_ids = call.ids(*key_ids, "key_ids", "[N]", {args.n_keys});
  }
  if (key_bias) args.key_bias = call.template values<Sum<T>>(*key_bias, "key_bias", "[N]", {args.n_keys});
  args.scale = static_cast<Sum<T>>(scale);
  return args;
}

template <typename Device>
Tensor log_sum_exp(Tensor queries, Tensor keys, std::optional<Tensor> query_ids, std::optional<Tensor> key_ids,
                   std::optional<Tensor> key_bias, double scale) {
  Call<Device> call(queries, "queries");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    LogSumExpArgs<T> args = log_sum_exp_inputs<T>(call, queries, keys, query_ids, key_ids, key_bias, scale);
    const auto out = call.template output<Sum<T>>({args.n_queries});
    args.log_sums = out.data;
    if (args.n_queries > 0) log_sum_exp(args, call.where());
    return out.tensor;
  });
}

template <typename Device>
std::tuple<Tensor, Tensor> log_sum_exp_backward(Tensor grad, Tensor log_sums, Tensor queries, Tensor keys,
                                                std::optional<Tensor> query_ids, std::optional<Tensor> key_ids,
                                                std::optional<Tensor> key_bias, double scale) {
  Call<Device> call(queries, "queries");
  return call.with_row_type([&](auto zero) {
    using T = decltype(zero);
    LogSumExpBackwardArgs<T> args = {};
    args.inputs = log_sum_exp_inputs<T>(call, queries, keys, query_ids, key_ids, key_bias, scale);
    const int64_t n_queries = args.inputs.n_queries, n_keys = args.inputs.n_keys, dim = args.inputs.dim;
    args.inputs.log_sums = const_cast<Sum<T>*>(call.template values<Sum<T>>(log_sums, "log_sums", "[B]", {n_queries}));
    args.grad = call.template values<Sum<T>>(grad, "grad", "[B]", {n_queries});
    const auto grad_queries = call.template output<Sum<T>>({n_queries, dim});
    const auto grad_keys = call.template output<Sum<T>>({n_keys, dim});
    args.grad_queries = grad_queries.data;
    args.grad_keys = grad_keys.data;
    if ((n_queries > 0 || n_keys > 0) && dim > 0) log_sum_exp_backward(args, call.where());
    return std::make_tuple(grad_queries.tensor, grad_keys.tensor);
  });
}

}  // namespace ans::ops
#endif
