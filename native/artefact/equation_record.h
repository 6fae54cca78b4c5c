// A neuron's step as the attributes of a node of op "program" say it (docs/reference/artefact_format.md).
#pragma once

#include "node_record.h"

namespace hdlif {

// Checks every attribute, and that the node has the tensors of its rows; throws `ArtefactError`.
EquationRecord read_equation(NodeRecord& node);

} // namespace hdlif
