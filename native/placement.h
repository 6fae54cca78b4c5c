// Where the values of a run live, and which ops of a chain take one pass.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.h"

namespace hdlif {

// Nodes of a chain that one pass computes; -1 where a part is missing.
struct FiringNodes {
  int32_t affine = -1, add = -1, neuron = -1, quantise = -1;
  int32_t first() const { return affine >= 0 ? affine : add >= 0 ? add : neuron; }
};

// Where the values of a chunk live. Values that only their own stage reads live in a thread's tile, one row
// at a time.
struct Placement {
  int64_t batch = 0, steps = 0; // of the largest chunk
  bool is_static = false;       // values that are constant in time have one step
  bool keeps_all = false;

  std::vector<int32_t> slot;       // of each value: which slot, or -1
  std::vector<int64_t> tile;       // of each value: byte offset in the tile, or -1
  std::vector<int64_t> widened;    // of each node and input: offset in the tile of its codes as floats, or -1
  std::vector<int64_t> slot_bytes; // of each slot
  int64_t tile_bytes = 0;

  // Of the first node of each pass: its nodes. Of the others: is_passed.
  std::vector<FiringNodes> firing;
  std::vector<bool> is_passed;
  std::vector<bool> is_read_again; // of each value: it has more than one reader
};

Placement place(const Plan& plan, int64_t batch, int64_t steps, bool is_static, bool keeps_all);

// What may be read behind a map of codes: see gather_units.
constexpr int64_t kReadAhead = 64;

} // namespace hdlif
