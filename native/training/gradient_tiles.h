// Gradients of a convolution of codes, in bfloat16 on tiles.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"

namespace hdlif {

// Returns whether the channels fill at least a third of the tiles.
bool fills_bfloat_tiles(const ConvShape& shape);

// gradient [co][ci][ky][kx] = step * the sum over pixels of codes * dy, with dy in bfloat16 and sums in
// float32, pixels ascending.
void weight_gradient_in_bfloat16(const ConvShape& shape, const BfloatKernels& kernels, const float* dy,
                                 int64_t images, const uint8_t* codes, float step, float* gradient,
                                 int threads);

// gradient = the sum of weight * (scale[co] * dy) where `live` is not 0, and 0 elsewhere, with scale * dy in
// bfloat16 and sums in float32. Weights are -1, 0 and 1 [co][ci][ky][kx], with room for 3 more bytes. If
// `live` is null, the sum is written everywhere.
void input_gradient_in_bfloat16(const ConvShape& shape, const BfloatKernels& kernels, const float* dy,
                                int64_t images, const int8_t* weights, const float* scale,
                                const uint8_t* live, float* gradient, int threads);

} // namespace hdlif
