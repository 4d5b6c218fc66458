// The operators of csrc/ops on the harness, as torch.ops.ans_fast_simt.
#define ANS_HOST
#include "device.h"
#include "ops/all.h"

STABLE_TORCH_LIBRARY(ans_fast_simt, m) { ans::ops::define(m); }

STABLE_TORCH_LIBRARY_IMPL(ans_fast_simt, CPU, m) { ans::ops::implement<simt::Device>(m); }

extern "C" {

void set_order(int order) { simt::order = static_cast<simt::Order>(order); }
void set_multiprocessors(int count) { simt::multiprocessors = count; }
void set_seeds_by_address(int by_address) { simt::seeds_by_address = by_address != 0; }

}  // extern "C"
