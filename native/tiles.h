// Layers of codes as products of matrices, for the kernel on tiles.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "memory.h"

namespace hdlif {

// A layer's weights as tiles.
struct TileForm {
  int32_t depth = 0;      // taps of kTileDepth codes: of each entry of the kernel as many as channels need
  int32_t blocks = 0;     // of two tiles of output channels
  int32_t channels = 0;   // of a pixel, with those that fill its last tile
  bool is_packed = false; // weights are -1, 0 or 1

  int64_t block_bytes() const { return int64_t(depth) * 2 * kTileLanes * kTileDepth; }
  int64_t stored_bytes() const { return is_packed ? block_bytes() / 4 : block_bytes(); }
};

// Tiles may hold so many times the layer's weights.
constexpr int64_t kMostPadded = 4;

// Without taps where the layer has groups, or channels that would leave most of a tile empty.
TileForm tile_form(const ConvShape& shape);

// From one weight to the next in each direction.
struct TileOrder {
  int64_t out, in, tap;
};

// Writes the weights of output channels [first, last) as tiles that are not packed, into zeros; `first` is a
// multiple of kTileLanes.
void lay_tiles(const ConvShape& shape, const TileForm& form, const int8_t* weights, TileOrder order,
               int32_t first, int32_t last, int8_t* to);

// From weights [ky][kx][ci][co], packed where the form is.
LineVector<uint8_t> tile_weights(const ConvShape& shape, const TileForm& form, const int8_t* weights);

// Some output rows of a layer, counted over the images, at so many steps: their input's codes lie
// [plane][row][column][step][channel], so that 16 neighbours of (column, step) are a tile wherever the kernel
// begins. A plane has the rows and columns that are a stride apart, with the padding around them; rows of
// several images lie one below the other.
class TileGroup {
public:
  TileGroup(const ConvShape& shape, const TileForm& form, int64_t steps);

  int64_t most_rows() const { return most_rows_; }
  int64_t bytes() const;              // of working memory
  float* sums(uint8_t* memory) const; // room for those of as many rows, within it

  // Roughly what rows take, in cycles.
  double cycles(int64_t rows) const;

  // Takes rows [first, last), at most `most_rows`: `codes` is the first step's first image, a frame of
  // `frame_bytes` the next step's. Sums of step t, row r and pixel x will go to y + t * y_step + r * y_row +
  // x * out_channels, r counted over the images and from 0.
  void gather(const uint8_t* codes, int64_t frame_bytes, int64_t first, int64_t last, int64_t y_step,
              int64_t y_row, uint8_t* memory);

  // Of the rows that were gathered: the output channels of a block.
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
  int64_t tiles_ = 0;  // of the rows that were gathered
  int64_t listed_ = 0; // rows of one image, of which the tiles are listed
  uint8_t* memory_ = nullptr;
};

} // namespace hdlif
