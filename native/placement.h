// Where the values of a run live.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.h"

namespace hdlif {

// Where the values of a chunk live. Values that only their own stage reads live in a thread's tile, one row
// at a time.
struct Placement {
  int64_t batch = 0, steps = 0; // of the largest chunk
  bool is_static = false;       // values that are constant in time have one step
  bool keeps_all = false;
  bool in_time = false; // all values have slots, those with a history one of their own

  std::vector<int32_t> slot;       // of each value: which slot, or -1
  std::vector<int64_t> tile;       // of each value: byte offset in the tile, or -1
  std::vector<int64_t> widened;    // of each node and input: offset in the tile of its codes as floats, or -1
  std::vector<int64_t> slot_bytes; // of each slot
  int64_t tile_bytes = 0;
};

Placement place(const Plan& plan, int64_t batch, int64_t steps, bool is_static, bool keeps_all);

} // namespace hdlif
