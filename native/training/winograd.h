// 3x3 convolutions with stride 1 and padding 1, in float32, with Winograd's F(4x4, 3x3), for training. It
// needs 36 products instead of 144, in another order and therefore with other rounding.
//
// Maps are [image][y][x][channel], with channels in multiples of 16; kernels are [out][in][3][3]. Results do
// not depend on the number of threads.
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
// channels and columns output channels; for the gradient of the input they are swapped, and each kernel is
// rotated by 180 degrees.
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

// Computes y [image][y][x][columns] from x [image][y][x][rows]; ignores the channels of `shape`.
void winograd_convolve(const float* x, const WinogradShape& shape, const WinogradKernels& kernels, float* y,
                       int threads);

// Computes the gradient of the sum of dy * y for the kernels, [out][in][3][3].
void winograd_kernel_gradient(const float* x, const float* dy, const WinogradShape& shape, float* gradient,
                              const Kernels& kernels, int threads);

} // namespace hdlif
