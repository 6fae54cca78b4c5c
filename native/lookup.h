// Weights in the layout of the look-up kernel; see `LookupForm`.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "memory.h"

namespace hdlif {

// Returns the number of lanes for this many output channels: a multiple of 16. A remainder of 48 is padded to
// 64, because one vector of 64 is faster than one of 32 and one of 16.
int32_t lookup_lanes(int32_t out_channels);

// Has no units if the layer cannot use look-up kernels.
LookupForm lookup_form(const ConvShape& shape);

// Return the size in bytes of the index [ky][kx][unit][lane], and its entry for zero weights.
int64_t index_bytes(const ConvShape& shape, const LookupForm& form);
uint8_t index_of_zeros(const ConvShape& shape, const LookupForm& form);

// Returns the products for every possible unit of codes or differences.
LineVector<int8_t> lookup_table(const ConvShape& shape, const LookupForm& form);

// Returns the index of weights [ky][kx][ci][co].
LineVector<uint8_t> lookup_index(const ConvShape& shape, const LookupForm& form, const int8_t* weights);

} // namespace hdlif
