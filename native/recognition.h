// Equations that a kernel of their own computes.
#pragma once

#include <cstdint>
#include <vector>

#include "graph.h"

namespace hdlif {

// The kernel that computes an equation, and the registers that it takes as its own parts; -1 where it has
// none.
struct Fused {
  enum Kernel { kNone, kHdLif, kParallel, kLif, kFire };
  Kernel kernel = kNone;
  int32_t current = -1;              // what the neuron gets
  int32_t leak = -1, threshold = -1; // rows
  Reset reset{false, 0.0f};          // of kLif
  // of kFire: current = x * scale + shift + addend, with either, both or none, and the surplus is quantised
  int32_t x = -1, addend = -1, scale = -1, shift = -1, inverse_step = -1;
  float offset = 0, largest = 0;
};

// As kernels.h names it; "equation" for none.
const char* name_of(Fused::Kernel kernel);

// The kernel that gives the bits of this equation; kNone where there is none. Operands of a sum or a product
// may come either way round: no bit of a number depends on it.
//
// columns   of each row
// channels  of the values that the equation is computed for
Fused recognise(const Equation& equation, const std::vector<int32_t>& columns, int32_t channels);

} // namespace hdlif
