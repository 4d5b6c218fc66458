// The operators of csrc/ops for the CPU, in a library that knows no Python.
#define ANS_HOST
#include "cpu/device.h"
#include "ops/all.h"

STABLE_TORCH_LIBRARY(ans_fast, m) { ans::ops::define(m); }

STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  ans::ops::implement<ans::cpu::Device>(m);
  ans::ops::implement_on_cpu<ans::cpu::Device>(m);
}
