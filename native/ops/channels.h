// Channel copies for slices and concatenations.
#pragma once

#include "../row_context.h"

namespace hdlif {

// Copies the channels of one input from `first_channel` on to `to_channel` of the output, as codes if the
// output has codes, else as floats. The number of channels is the smaller of the two pixels': the slice, or
// one part of a concatenation.
void copy_channels(RowContext& c, int32_t n, int input, int32_t first_channel, int32_t to_channel);

} // namespace hdlif
