// Uniform draws of items that a user has not clicked.
#pragma once

#include "common/kernel.h"

namespace ans {

struct SampleArgs {
  const int64_t* indptr;   // [n_users + n_items + 1]
  const int32_t* indices;  // [n_indices], ascending in each row
  int64_t n_indices;
  const int64_t* users;  // [n_rows]
  int64_t n_rows, n_users, n_items, n_negatives, first_item;
  Seed seed;
  int64_t* out;     // [n_rows, n_negatives]; kNoItem in rows whose user is none, or has nothing left to draw
  int64_t* failed;  // the first such row, or n_rows; null: not wanted
};
ANS_KERNEL(sample_negatives, SampleArgs)

}  // namespace ans

#if defined(ANS_HOST)
#include "ops/graph.h"

namespace ans::ops {

constexpr char kSampleNegatives[] =
    "sample_negatives(Tensor indptr, Tensor indices, Tensor users, int n_users, int n_items, int n_negatives, "
    "Tensor seed, int first_item) -> Tensor";

// Says why nothing could be drawn for users[row].
[[noreturn]] inline void fail_to_sample(const SampleArgs& args, int64_t row) {
  const int64_t user = args.users[row];
  if (user < 0 || user >= args.n_users)
    fail("users must be in [0, ", args.n_users, "), got ", user, " at position ", row);
  const int64_t begin = args.indptr[user], end = args.indptr[user + 1];
  if (begin < 0 || begin > end || end > args.n_indices) fail("indptr must ascend in [0, ", args.n_indices, "]");
  fail("user ", user, " (at position ", row, ") has clicked every item from ", args.first_item,
       " on: there is no negative to draw");
}

template <typename Device>
Tensor sample_negatives(Tensor indptr, Tensor indices, Tensor users, int64_t n_users, int64_t n_items,
                        int64_t n_negatives, Tensor seed, int64_t first_item) {
  Call<Device> call(users, "users");
  check_range("n_users", n_users, 0, INT32_MAX);
  check_range("n_items", n_items, 0, INT32_MAX - n_users);
  check_range("n_negatives", n_negatives, 0, INT32_MAX);
  check_range("first_item", first_item, 0, n_items);
  const int64_t* ids = call.ids(users, "users", "[B]", {-1});
  const Edges edges = edges_of(call, indptr, indices, n_users + n_items);
  const int64_t n_rows = users.size(0);
  int64_t failed = n_rows;
  const Seed value = call.seed(seed);
  const auto out = call.template output<int64_t>({n_rows, n_negatives});
  const SampleArgs args = {edges.indptr, edges.indices, edges.n_indices, ids, n_rows, n_users, n_items, n_negatives,
                           first_item, value, out.data, Device::kReadsIds ? &failed : nullptr};
  if (n_rows > 0) sample_negatives(args, call.where());
  if (failed < n_rows) fail_to_sample(args, failed);
  return out.tensor;
}

}  // namespace ans::ops
#endif
