// The kernels' launchers as C functions for ctypes. Each returns 0, or 1 after a Failure whose text is last_failure().
#include "cuda/propagate.h"

#include <string>

namespace {

std::string failure;

template <typename Function>
int guarded(Function function) {
  try {
    function();
    return 0;
  } catch (const simt::Failure& caught) {
    failure = caught.what();
    return 1;
  }
}

using namespace ans::cuda;

template <typename T>
int run_propagate(const PropagateArgs<T>* args) {
  return guarded([&] { propagate(*args, nullptr); });
}

}  // namespace

extern "C" {

const char* last_failure() { return failure.c_str(); }

void set_order(int order) { simt::order = static_cast<simt::Order>(order); }
void set_multiprocessors(int count) { simt::multiprocessors = count; }

int propagate_float32(const PropagateArgs<float>* args) { return run_propagate(args); }
int propagate_bfloat16(const PropagateArgs<__nv_bfloat16>* args) { return run_propagate(args); }
int propagate_float16(const PropagateArgs<__half>* args) { return run_propagate(args); }
int64_t count_chunks(int64_t n_nodes, int64_t n_indices) { return propagate_chunks(n_nodes, n_indices); }

}  // extern "C"
