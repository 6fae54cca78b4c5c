// What convolutions and linear layers share.
#pragma once

#include "../plan.h"
#include "op.h"

namespace hdlif {

RowWork layer_work(const Node& node, const Value& in, const Value& out);
void compute_layer(RowContext& rows, int32_t n);

// What a thread needs for the events of the input rows under the kernel, at so many steps; in time, where the
// layer has taps.
int64_t event_bytes(const Layer& layer, const Taps* taps, int64_t steps);

} // namespace hdlif
