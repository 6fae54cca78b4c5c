// Combines operations of an equation without changing its results.
#pragma once

#include <vector>

#include "graph.h"

namespace hdlif {

// Return the equation with operations after Operation::kCount in place of several operations whose
// intermediate results are not read elsewhere. This saves time, because each operation passes over the entire
// block. A combined operation computes the same numbers in the same order.
//
// named  registers that are read outside the equation; updated to their new numbers
Equation combined(const Equation& equation, const std::vector<int32_t*>& named);

} // namespace hdlif
