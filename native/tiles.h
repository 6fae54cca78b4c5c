// Layers with codes as inputs, as matrix products for the kernel on tiles.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "memory.h"

namespace hdlif {

// A layer's weights as tiles.
struct TileForm {
  int32_t depth =
      0; // number of taps of kTileDepth codes; an entry of the kernel has as many as its channels need
  int32_t blocks = 0;     // number of blocks; a block is two tiles of output channels
  int32_t channels = 0;   // channels per pixel, padded to full tiles
  bool is_packed = false; // weights are -1, 0 or 1

  int64_t block_bytes() const { return int64_t(depth) * 2 * kTileLanes * kTileDepth; }
  int64_t stored_bytes() const { return is_packed ? block_bytes() / 4 : block_bytes(); }
};

// Padded tiles may have at most this many times the layer's weights.
constexpr int64_t kMostPadded = 4;

// Has no taps if the layer has groups, or if padding would exceed kMostPadded.
TileForm tile_form(const ConvShape& shape);

// Distances between neighbouring weights in each direction.
struct TileOrder {
  int64_t out, in, tap;
};

// Writes the weights of output channels [first, last) to `to` as unpacked tiles. `to` must contain zeros, and
// `first` must be a multiple of kTileLanes.
void lay_tiles(const ConvShape& shape, const TileForm& form, const int8_t* weights, TileOrder order,
               int32_t first, int32_t last, int8_t* to);

// Return the tiles of weights [ky][kx][ci][co], packed if form.is_packed.
LineVector<uint8_t> tile_weights(const ConvShape& shape, const TileForm& form, const int8_t* weights);

// Some output rows of a layer, counted over all images, at a number of steps. Their input codes are stored as
// [plane][row][column][step][channel], so 16 consecutive (column, step) pairs form a tile wherever the kernel
// begins. A plane has the rows and columns that are a stride apart, including padding; rows of several images
// follow one another.
class TileGroup {
public:
  TileGroup(const ConvShape& shape, const TileForm& form, int64_t steps);

  int64_t most_rows() const { return most_rows_; }
  int64_t bytes() const;              // size of the working memory
  float* sums(uint8_t* memory) const; // space in `memory` for the sums of most_rows() rows

  // Approximate cycles for this many rows.
  double cycles(int64_t rows) const;

  // Gathers the inputs of rows [first, last), at most most_rows(). `codes` points to the first image at the
  // first step; the next step is `frame_bytes` further. sum() writes the sums of step t, row r and pixel x to
  // y + t * y_step + r * y_row + x * out_channels, where r counts from 0 over all images.
  void gather(const uint8_t* codes, int64_t frame_bytes, int64_t first, int64_t last, int64_t y_step,
              int64_t y_row, uint8_t* memory);

  // Computes the output channels of a block for the gathered rows.
  void sum(TileKernel kernel, const uint8_t* weights, int32_t block, float* y) const;

private:
  struct Memory;
  Memory laid_out(uint8_t* memory) const;
  int64_t tiles_of(int64_t rows, bool joins) const;
  void list_taps(const Memory& laid) const;
  void list_tiles(const Memory& laid, int64_t packed, int64_t rows, int64_t r, int64_t y_step, int64_t y_row);

  const ConvShape& s_;
  const TileForm& form_;
  int64_t steps_, columns_, reach_, most_rows_, packed_rows_;
  int64_t tiles_ = 0;  // number of tiles of the gathered rows
  int64_t listed_ = 0; // number of rows of one image whose tiles are listed
  uint8_t* memory_ = nullptr;
};

} // namespace hdlif
