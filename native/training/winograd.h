// Convolutions of 3x3 with stride 1 and a padding of 1, in float32, by Winograd's F(4x4, 3x3): 36 products
// for what takes 144 of a sum, in another order, and so with other roundings. What trains.
//
// Maps are [image][y][x][channel], of channels in sixteens; kernels [out][in][3][3]. Nothing depends on the
// number of threads.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"
#include "../memory.h"

namespace hdlif {

struct WinogradShape {
  int64_t images;
  int32_t height, width, in_channels, out_channels;

  int64_t tiles_of_image() const {
    constexpr int32_t kLast = kWinogradTile - 1;
    return int64_t((height + kLast) / kWinogradTile) * ((width + kLast) / kWinogradTile);
  }
  int64_t tiles() const { return images * tiles_of_image(); }
};

// Kernels as 36 numbers each, in panels of columns: [panel][number][row][column]. Forward rows are input
// channels and columns output channels; for the gradient of the input it is the other way round, and each
// kernel is turned by half a turn.
class WinogradKernels {
public:
  WinogradKernels(const float* weights, int32_t out_channels, int32_t in_channels, bool is_back,
                  const Kernels& kernels, int threads);

  int32_t rows() const { return rows_; }
  int32_t columns() const { return columns_; }
  int64_t panels() const;
  const float* panel(int64_t panel, int number) const;
  const Kernels& kernels() const { return kernels_; }

private:
  const Kernels& kernels_;
  int32_t rows_, columns_;
  RawVector<float> data_;
};

// y [image][y][x][columns] of x [image][y][x][rows]; `shape`'s channels are not read.
void winograd_convolve(const float* x, const WinogradShape& shape, const WinogradKernels& kernels, float* y,
                       int threads);

// The gradient of the kernels, [out][in][3][3], of the sum of dy * y.
void winograd_kernel_gradient(const float* x, const float* dy, const WinogradShape& shape, float* gradient,
                              const Kernels& kernels, int threads);

} // namespace hdlif
