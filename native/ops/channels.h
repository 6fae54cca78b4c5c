// What slices and concatenations share.
#pragma once

#include "../row_context.h"

namespace hdlif {

// Copies the channels of one input: of codes as they are, of codes and floats as floats, from channel
// `first_channel` on, to channel `to_channel` of the output. The smaller of two pixels is what is copied: a
// slice's own, and each part of a concatenation.
void copy_channels(RowContext& c, int32_t n, int input, int32_t first_channel, int32_t to_channel);

} // namespace hdlif
