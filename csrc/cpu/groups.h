// Members of groups: what a thread sums up alone, in order.
#pragma once

#include <cstdint>
#include <string.h>

#include "common/memory.h"

namespace ans::cpu {
namespace {

// Calls group(g) for every g in [0, n_groups), in parallel, by ranges of about equal numbers of members.
template <typename Function>
inline void for_each_group(const int64_t* start, int64_t n_groups, int n_threads, Function group) {
  const int64_t n_ranges = 32 * n_threads, members = start[n_groups];
  // A range ends where its share of members does; groups without members weigh 1/8, for their zeros.
  const auto weight = [&](int64_t g) { return 8 * start[g] + g; };
  const auto boundary = [&](int64_t range) {
    const int64_t target = (8 * members + n_groups) * range / n_ranges;
    int64_t low = 0;
    for (int64_t high = n_groups; low < high;) {
      const int64_t middle = (low + high) / 2;
      if (weight(middle) < target) low = middle + 1;
      else high = middle;
    }
    return range == n_ranges ? n_groups : low;
  };
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
  for (int64_t range = 0; range < n_ranges; ++range)
    for (int64_t g = boundary(range), end = boundary(range + 1); g < end; ++g) group(g);
}

// Counting sort: after it, order[start[g] … start[g + 1]) are the members of group g, ascending. `visit` calls its
// argument with (member, group) for all members, ascending. `start` has n_groups + 2 places.
template <typename Visit>
inline void group_by(int64_t* start, int64_t* order, int64_t n_groups, Visit visit) {
  memset(start, 0, sizeof(int64_t) * static_cast<size_t>(n_groups + 2));
  visit([&](int64_t, int64_t group) { ++start[group + 2]; });
  for (int64_t g = 0; g < n_groups; ++g) start[g + 2] += start[g + 1];
  visit([&](int64_t member, int64_t group) { order[start[group + 1]++] = member; });
}

// Groups that group_by fills.
struct Groups {
  int64_t n_groups;
  int64_t *start, *order;

  Groups(const Memory& memory, int64_t n_groups, int64_t n_members)
      : n_groups(n_groups), start(take<int64_t>(memory, n_groups + 2)), order(take<int64_t>(memory, n_members)) {}
};

template <typename Visit>
inline void group_by(const Groups& groups, Visit visit) {
  group_by(groups.start, groups.order, groups.n_groups, visit);
}

}  // namespace
}  // namespace ans::cpu
