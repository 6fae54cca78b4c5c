// Shapes of convolutions, drawn at random; their channels are the caller's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"

namespace hdlif {

// `draw(least, most)` gives an integer. Small maps, some of which the kernel just fits on with their padding.
template <typename Draw> ConvShape drawn_shape(const Draw& draw, int32_t most_dilation = 1) {
  ConvShape s{};
  s.kernel_y = draw(1, 5);
  s.kernel_x = draw(1, 4);
  s.stride_y = draw(1, 3);
  s.stride_x = draw(1, 3);
  s.dilation_y = draw(1, most_dilation);
  s.dilation_x = draw(1, most_dilation);
  const int32_t reach_y = (s.kernel_y - 1) * s.dilation_y + 1, reach_x = (s.kernel_x - 1) * s.dilation_x + 1;
  s.pad_y = draw(0, std::min(2, reach_y - 1));
  s.pad_x = draw(0, std::min(2, reach_x - 1));
  s.in_height = std::max(draw(1, 9), reach_y - 2 * s.pad_y);
  s.in_width = std::max(draw(1, 20), reach_x - 2 * s.pad_x);
  s.out_height = (s.in_height + 2 * s.pad_y - reach_y) / s.stride_y + 1;
  s.out_width = (s.in_width + 2 * s.pad_x - reach_x) / s.stride_x + 1;
  return s;
}

} // namespace hdlif
