// Code shared by convolutions and linear layers.
#pragma once

#include "../plan.h"
#include "op.h"

namespace hdlif {

RowWork layer_work(const Node& node, const Value& in, const Value& out);
void compute_layer(RowContext& rows, int32_t n);

// Returns the bytes that a thread needs for the events of the input rows under the kernel, at the given
// number of steps; over time if the layer has taps.
int64_t event_bytes(const Layer& layer, const Taps* taps, int64_t steps);

} // namespace hdlif
