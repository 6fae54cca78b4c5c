// Fewer and larger operations for the same numbers.
#pragma once

#include <vector>

#include "graph.h"

namespace hdlif {

// The equation with operations behind Operation::kCount in place of several whose other results nobody reads:
// an operation costs a way over its block, whatever it does there. Each computes the same in the same order.
//
// named  registers that are read outside, which get their new numbers
Equation combined(const Equation& equation, const std::vector<int32_t*>& named);

} // namespace hdlif
