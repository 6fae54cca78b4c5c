// Recognises equations that a specialised kernel computes.
#pragma once

#include <cstdint>
#include <vector>

#include "graph.h"

namespace hdlif {

// The kernel that computes an equation, and the registers of its operands; -1 for absent ones.
struct Fused {
  enum Kernel { kNone, kHdLif, kParallel, kLif, kFire };
  Kernel kernel = kNone;
  int32_t current = -1;              // the neuron's input
  int32_t leak = -1, threshold = -1; // rows
  Reset reset{false, 0.0f};          // of kLif
  // For kFire: current = x * scale + shift + addend, where the affine part and the addend are optional; the
  // surplus is quantised.
  int32_t x = -1, addend = -1, scale = -1, shift = -1, inverse_step = -1;
  float offset = 0, largest = 0;
};

// The name of the kernel in kernels.h; "equation" for kNone.
const char* name_of(Fused::Kernel kernel);

// Return the kernel that computes this equation bit for bit, or kNone. Sums and products match with their
// operands in either order, which does not change any bit.
//
// columns   for each row, its number of columns
// channels  number of channels of the values
Fused recognise(const Equation& equation, const std::vector<int32_t>& columns, int32_t channels);

} // namespace hdlif
