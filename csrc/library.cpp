// The operators' schemas, their CPU implementations' argument checks, and the Python module with build_info().
#include "cpu/sample_negatives.h"
#include "dispatch.h"

#include <pybind11/pybind11.h>


namespace ans {
namespace {

Tensor sample_negatives(Tensor indptr, Tensor indices, Tensor users, int64_t n_users, int64_t n_items,
                        int64_t n_negatives, Tensor seed, int64_t first_item) {
  check_sampling(indptr, indices, users, n_users, n_items, n_negatives, first_item);
  const int64_t n_rows = users.size(0);
  Tensor out = torch::stable::new_empty(users, {n_rows, n_negatives});
  const uint64_t seed_value = cpu_seed(seed);
  const int64_t* ids = users.const_data_ptr<int64_t>();
  const int64_t failed = cpu::sample_negatives(
      {indptr.const_data_ptr<int64_t>(), indices.const_data_ptr<int32_t>(), indices.numel(), ids, n_rows, n_users,
       n_items, n_negatives, first_item, seed_value, out.mutable_data_ptr<int64_t>(),
       threads_for(n_rows * n_negatives, 1 << 11)});
  if (failed < n_rows) {
    const int64_t user = ids[failed];
    if (user < 0 || user >= n_users)
      fail("users must be in [0, ", n_users, "), got ", user, " at position ", failed);
    const int64_t* row = indptr.const_data_ptr<int64_t>() + user;
    if (row[0] < 0 || row[0] > row[1] || row[1] > indices.numel())
      fail("indptr must ascend in [0, ", indices.numel(), "]");
    fail("user ", user, " (at position ", failed, ") has clicked every item from ", first_item,
         " on: there is no negative to draw");
  }
  return out;
}

Tensor ans_noise(Tensor seed, int64_t n_rows, int64_t dim) {
  check_range("n_rows", n_rows, 0, INT64_MAX);
  check_range("dim", dim, 0, INT32_MAX);
  const int64_t size = check_size("n_rows and dim", n_rows, dim);
  const uint64_t seed_value = cpu_seed(seed);
  Tensor out = torch::stable::new_empty(seed, {n_rows, dim}, ScalarType::Float);
  if (size == 0) return out;
  cpu::ans_noise({seed_value, n_rows, dim, out.mutable_data_ptr<float>(), threads_for(size, 1 << 14)});
  return out;
}

pybind11::dict build_info() {
  pybind11::list levels;
#define ANS_APPEND_LEVEL(level, unused) levels.append(#level);
  ANS_FOR_EACH_LEVEL(ANS_APPEND_LEVEL, 0)
  pybind11::dict info;
  info["version"] = ANS_VERSION;
  info["torch"] = ANS_TORCH;
  info["compiler"] = __VERSION__;
  info["simd"] = levels;
  info["simd_in_use"] = cpu::simd_level_name(cpu::simd_level());
  info["cuda"] = *ANS_CUDA ? pybind11::object(pybind11::str(ANS_CUDA)) : pybind11::none();
  info["cuda_architectures"] = pybind11::str(ANS_CUDA_ARCHITECTURES).attr("split")();
  return info;
}

}  // namespace
}  // namespace ans

STABLE_TORCH_LIBRARY(ans_fast, m) {
  m.def(
      "sample_negatives(Tensor indptr, Tensor indices, Tensor users, int n_users, int n_items, int n_negatives, "
      "Tensor seed, int first_item) -> Tensor");
  m.def("ans_noise(Tensor seed, int n_rows, int dim) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  m.impl("sample_negatives", TORCH_BOX(&ans::sample_negatives));
  m.impl("ans_noise", TORCH_BOX(&ans::ans_noise));
}

PYBIND11_MODULE(_C, m) { m.def("build_info", &ans::build_info, "What this build was made with, as a dict."); }
