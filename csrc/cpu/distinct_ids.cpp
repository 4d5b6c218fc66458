// Marks the ids that occur, then goes through all in order.
#include "ops/distinct_ids.h"

namespace ans::cpu {

void ANS_ENTRY(distinct_ids)(const DistinctArgs& a, const Threads&) {
  for (int64_t id = 0; id < a.n; ++id) a.place[id] = -1;
  for (int64_t r = 0; r < a.n_ids; ++r) a.place[a.ids[r]] = 0;
  int64_t count = 0;
  for (int64_t id = 0; id < a.n; ++id) {
    if (a.place[id] < 0) continue;
    a.distinct[count] = id;
    a.place[id] = count++;
  }
  *a.count = count;
  for (int64_t i = count; i < a.n_places; ++i) a.distinct[i] = a.distinct[0];
}

}  // namespace ans::cpu
