// All operators: their schemas, and their implementations for one device.
#pragma once

#include "ops/ans_noise.h"
#include "ops/ans_terms.h"
#include "ops/candidate_scores.h"
#include "ops/distinct_ids.h"
#include "ops/gru_states.h"
#include "ops/hardest_negatives.h"
#include "ops/log_sum_exp.h"
#include "ops/propagate.h"
#include "ops/sample_negatives.h"
#include "ops/top_k_bpr.h"

namespace ans::ops {

// One line an operator: its schema, its name in it, and its host function for a Device.
#define ANS_OPERATORS(X)                                                                                     \
  X(kAnsNoise, "ans_noise", &ans_noise<Device>)                                                              \
  X(kAnsTermsForward, "ans_terms_forward", (&ans_terms<Device, AnsForwardArgs>))                             \
  X(kAnsTermsBackward, "ans_terms_backward",                                                                 \
    (&ans_terms<Device, AnsBackwardArgs, Tensor, std::optional<Tensor>, Tensor, Tensor, bool>))              \
  X(kCandidateScores, "candidate_scores", &candidate_scores<Device>)                                         \
  X(kCandidateScoresBackward, "candidate_scores_backward", &candidate_scores_backward<Device>)               \
  X(kDistinctIds, "distinct_ids", &distinct_ids<Device>)                                                     \
  X(kHardestNegatives, "hardest_negatives", &hardest_negatives<Device>)                                      \
  X(kLogSumExp, "log_sum_exp", &log_sum_exp<Device>)                                                         \
  X(kLogSumExpBackward, "log_sum_exp_backward", &log_sum_exp_backward<Device>)                               \
  X(kPropagate, "propagate", &propagate<Device>)                                                             \
  X(kPropagateBackward, "propagate_backward", &propagate_backward<Device>)                                   \
  X(kPropagateMean, "propagate_mean", &propagate_mean<Device>)                                               \
  X(kSampleNegatives, "sample_negatives", &sample_negatives<Device>)                                         \
  X(kTopKBpr, "top_k_bpr", &top_k_bpr<Device>)                                                               \
  X(kTopKBprBackward, "top_k_bpr_backward", &top_k_bpr_backward<Device>)

// Those that have kernels for the CPU alone.
#define ANS_CPU_OPERATORS(X)                                  \
  X(kGruStates, "gru_states", &gru_states<Device>)            \
  X(kGruStatesBackward, "gru_states_backward", &gru_states_backward<Device>)

#define ANS_DEFINE(schema, name, function) library.def(schema);
#define ANS_IMPLEMENT(schema, name, function) library.impl(name, TORCH_BOX(function));

template <typename Library>
void define(Library& library) {
  ANS_OPERATORS(ANS_DEFINE)
  ANS_CPU_OPERATORS(ANS_DEFINE)
}

template <typename Device, typename Library>
void implement(Library& library) {
  ANS_OPERATORS(ANS_IMPLEMENT)
}

template <typename Device, typename Library>
void implement_on_cpu(Library& library) {
  ANS_CPU_OPERATORS(ANS_IMPLEMENT)
}

}  // namespace ans::ops
