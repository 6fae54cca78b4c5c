// Reads the equation of a neuron from a node of op "program" (docs/contributing/model_format.md).
#pragma once

#include <memory>

#include "node_reader.h"

namespace hdlif {

// Checks every attribute, and reads the rows of its tensors into the node.
std::shared_ptr<const Equation> read_equation(NodeReader& node, int32_t channels);

} // namespace hdlif
