// Assigns memory to the values of a run.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.h"

namespace hdlif {

// Memory of the values of a chunk. Values that only their own stage reads are stored in a thread's tile, one
// row at a time.
struct Placement {
  int64_t batch = 0, steps = 0; // of the largest chunk
  bool is_static = false;       // values that are constant in time are stored for one step
  bool keeps_all = false;
  bool in_time = false; // all steps in one call; values have slots, and each value with a history has its own

  std::vector<int32_t> slot;    // for each value: its slot, or -1
  std::vector<int64_t> tile;    // for each value: byte offset in the tile, or -1
  std::vector<int64_t> widened; // for each node and input: offset in the tile of its codes as floats, or -1
  std::vector<int64_t> slot_bytes; // of each slot
  int64_t tile_bytes = 0;
};

Placement place(const Plan& plan, int64_t batch, int64_t steps, bool is_static, bool keeps_all);

} // namespace hdlif
