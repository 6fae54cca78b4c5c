// Equations that a kernel of their own computes.
#pragma once

#include "program.h"

namespace hdlif {

// The kernel that gives the bits of this equation, and which of its rows it takes; Fused::kNone where there
// is none. Operands of a sum or a product may come either way round: no bit of a number depends on it.
Fused recognise(const Equation& equation);

} // namespace hdlif
