// Matrix products in bfloat16 on AMX tiles, and functions that lay out their factors as tiles.
#pragma once

#include <cstdint>

namespace hdlif {

// Numbers per tile row, and per tile.
constexpr int kBfloatDepth = 32, kBfloatTile = 16 * kBfloatDepth;

// Rows and columns of a product of two tiles by two.
constexpr int kBfloatBlock = 32;

// A position outside the map; its numbers are 0.
constexpr int32_t kNoPixel = -1;

// Numbers are bfloat16, stored as their 16 bits; float32 is rounded to the nearest, ties to even. A row
// factor is stored as tiles [row / 16][k / 32][row][k], `row_tile` numbers apart along [row / 16]. A column
// factor is stored as tiles [k / 32][column / 16][k / 2][column][k % 2] of 32 columns.
struct BfloatKernels {
  // sums[row][column] = (adds: sums +) the sum over k, in float32, with k ascending in pairs, for `blocks`
  // blocks of 32 rows, and for 32 columns. k fills `depth` tiles. Denormal numbers count as 0.
  void (*multiply)(const uint16_t* rows, int64_t row_tile, int64_t blocks, const uint16_t* columns,
                   int64_t depth, float* sums, int64_t sums_row, bool adds);
  // to[pixel][channel] = maps * scale[channel], with zeros up to a multiple of 32 channels.
  void (*round_pixels)(const float* maps, const float* scale, int64_t pixels, int32_t channels, uint16_t* to);
  // Gathers the pixels at `places` as rows: `count` of them, a multiple of 16. k runs over the channels, in
  // `parts` of 32.
  void (*gather_rows)(const uint16_t* pixels, int64_t parts, const int32_t* places, int64_t count,
                      uint16_t* to, int64_t row_tile);
  // Writes channels as rows, with at most 32 pixels as k; pads to 32 pixels and 32 channels with zeros.
  void (*channels_as_rows)(const float* maps, int64_t pixels, int32_t channels, uint16_t* to,
                           int64_t row_tile);
  // Writes 32 channels of codes as columns, with the pixels at `places` as k: `count` of them, a multiple of
  // 32. Pixel 0 begins at `codes`, and pixels are `stride` apart. Reads 32 codes per pixel.
  void (*codes_as_columns)(const uint8_t* codes, int64_t stride, const int32_t* places, int64_t count,
                           uint16_t* to);
  // Writes at most 16 input channels as columns, with at most 32 output channels as k, `stride` apart.
  // Weights are -1, 0 and 1 [in][tap]. Each tap fills half of a pair of tiles, at to + offsets[tap]. Reads 3
  // bytes beyond the last weight.
  void (*weights_as_columns)(const int8_t* weights, int64_t stride, int32_t out, int32_t in, int32_t taps,
                             uint16_t* to, const int64_t* offsets);
  // to = sums where `live` is not 0, else 0. If `live` is null, to = sums everywhere.
  void (*write_live)(const float* sums, const uint8_t* live, int32_t count, float* to);
};

} // namespace hdlif
