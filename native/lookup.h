// Weights as the look-up kernel reads them; see `LookupForm`.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "memory.h"

namespace hdlif {

// Lanes of so many output channels: whole vectors of 16; and one of 64, which takes less time than one of 32
// and one of 16.
int32_t lookup_lanes(int32_t out_channels);

// Without units where the layer has no such form.
LookupForm lookup_form(const ConvShape& shape);

// Bytes of the index, [ky][kx][unit][lane], and its entry for weights of zero.
int64_t index_bytes(const ConvShape& shape, const LookupForm& form);
uint8_t index_of_zeros(const ConvShape& shape, const LookupForm& form);

// The products by unit of codes.
LineVector<int8_t> lookup_table(const ConvShape& shape, const LookupForm& form);

// The index of weights [ky][kx][ci][co].
LineVector<uint8_t> lookup_index(const ConvShape& shape, const LookupForm& form, const int8_t* weights);

} // namespace hdlif
