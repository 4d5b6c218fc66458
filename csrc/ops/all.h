// All operators: their schemas, and their implementations for one device.
#pragma once

#include "ops/ans_noise.h"
#include "ops/ans_terms.h"
#include "ops/distinct_ids.h"
#include "ops/gru_states.h"
#include "ops/hardest_negatives.h"
#include "ops/log_sum_exp.h"
#include "ops/propagate.h"
#include "ops/sample_negatives.h"

namespace ans::ops {

template <typename Library>
void define(Library& library) {
  library.def(kAnsNoise);
  library.def(kAnsTermsForward);
  library.def(kAnsTermsBackward);
  library.def(kDistinctIds);
  library.def(kGruStates);
  library.def(kGruStatesBackward);
  library.def(kHardestNegatives);
  library.def(kLogSumExp);
  library.def(kLogSumExpBackward);
  library.def(kPropagate);
  library.def(kPropagateBackward);
  library.def(kPropagateMean);
  library.def(kSampleNegatives);
}

template <typename Device, typename Library>
void implement(Library& library) {
  library.impl("ans_noise", TORCH_BOX(&ans_noise<Device>));
  library.impl("ans_terms_forward", TORCH_BOX((&ans_terms<Device, AnsForwardArgs>)));
  library.impl("ans_terms_backward", TORCH_BOX((&ans_terms<Device, AnsBackwardArgs, Tensor, Tensor, Tensor, bool>)));
  library.impl("distinct_ids", TORCH_BOX(&distinct_ids<Device>));
  library.impl("hardest_negatives", TORCH_BOX(&hardest_negatives<Device>));
  library.impl("log_sum_exp", TORCH_BOX(&log_sum_exp<Device>));
  library.impl("log_sum_exp_backward", TORCH_BOX(&log_sum_exp_backward<Device>));
  library.impl("propagate", TORCH_BOX(&propagate<Device>));
  library.impl("propagate_backward", TORCH_BOX(&propagate_backward<Device>));
  library.impl("propagate_mean", TORCH_BOX(&propagate_mean<Device>));
  library.impl("sample_negatives", TORCH_BOX(&sample_negatives<Device>));
}

// Those that have kernels for the CPU alone.
template <typename Device, typename Library>
void implement_on_cpu(Library& library) {
  library.impl("gru_states", TORCH_BOX(&gru_states<Device>));
  library.impl("gru_states_backward", TORCH_BOX(&gru_states_backward<Device>));
}

}  // namespace ans::ops
