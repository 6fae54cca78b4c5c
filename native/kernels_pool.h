// Ops that rearrange or reduce a map [height][width][channels].
// Of codes: sums in uint8, which the program's reader grants only where they cannot pass 255, or in
// float32 (exact below 2^24). Of floats: float32, row-major from +0.
#pragma once

#include <cstdint>

namespace hdlif {

struct PoolShape {
  int32_t in_height, in_width, channels;
  int32_t out_height, out_width;
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

// Output rows [first, last), counted over images (row = image * out_height + oy).
// y = sum over (ky, kx) of x; x and y do not overlap, pads are 0.
void sum_pool_rows(const float* x, float* y, const PoolShape& shape, int64_t first, int64_t last);
void sum_pool_rows(const uint8_t* x, float* y, const PoolShape& shape, int64_t first, int64_t last);
void sum_pool_rows(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t first, int64_t last);

// y = max over (ky, kx) of x, padding left out; of floats, the first of equals, and -inf where all are NaN.
void max_pool_rows(const float* x, float* y, const PoolShape& shape, int64_t first, int64_t last);
void max_pool_rows(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t first, int64_t last);

// [channels][pixels] to [pixels][channels]
void to_channels_last(const float* x, float* y, int64_t pixels, int32_t channels);

// [pixels][channels] to [channels][pixels]
void to_channels_first(const float* x, float* y, int64_t pixels, int32_t channels);
void to_channels_first(const uint8_t* x, uint8_t* y, int64_t pixels, int32_t channels);

} // namespace hdlif
