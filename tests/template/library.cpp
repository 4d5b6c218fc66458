// What a line in csrc/ops/all.h does for the operators of the library.
#define ANS_HOST
#if defined(ANS_SIMT)
#include "device.h"
#else
#include "cpu/device.h"
#endif
#include "row_norms.h"

#if defined(ANS_SIMT)
STABLE_TORCH_LIBRARY(ans_fast_template, m) { m.def(ans::ops::kRowNorms); }
STABLE_TORCH_LIBRARY_IMPL(ans_fast_template, CPU, m) {
  m.impl("row_norms", TORCH_BOX(&ans::ops::row_norms<simt::Device>));
}
#else
STABLE_TORCH_LIBRARY_FRAGMENT(ans_fast, m) { m.def(ans::ops::kRowNorms); }
STABLE_TORCH_LIBRARY_IMPL(ans_fast, CPU, m) {
  m.impl("row_norms", TORCH_BOX(&ans::ops::row_norms<ans::cpu::Device>));
}
#endif
