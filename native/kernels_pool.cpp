#include "kernels_pool.h"

#include <algorithm>
#include <limits>

namespace hdlif {
namespace {

struct Sum {
  template <typename Out> static Out start() { return Out(0); }
  template <typename Out> static Out join(Out total, Out entry) { return Out(total + entry); }
};

struct Max {
  template <typename Out> static Out start() {
    return std::numeric_limits<Out>::has_infinity ? -std::numeric_limits<Out>::infinity() : Out(0);
  }
  template <typename Out> static Out join(Out largest, Out entry) {
    return entry > largest ? entry : largest;
  }
};

template <typename Reduction, typename In, typename Out>
void pool_rows(const In* __restrict x, Out* __restrict y, const PoolShape& s, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) {
    const In* image = x + row / s.out_height * s.in_height * s.in_width * s.channels;
    const int32_t y0 = int32_t(row % s.out_height) * s.stride_y - s.pad_y;
    const int32_t top = std::max(y0, 0), bottom = std::min(y0 + s.kernel_y, s.in_height);
    for (int32_t ox = 0; ox < s.out_width; ++ox) {
      const int32_t x0 = ox * s.stride_x - s.pad_x;
      const int32_t left = std::max(x0, 0), right = std::min(x0 + s.kernel_x, s.in_width);
      Out* out = y + (row * s.out_width + ox) * s.channels;
      std::fill(out, out + s.channels, Reduction::template start<Out>());
      for (int32_t iy = top; iy < bottom; ++iy)
        for (int32_t ix = left; ix < right; ++ix) {
          const In* in = image + (int64_t(iy) * s.in_width + ix) * s.channels;
          for (int32_t c = 0; c < s.channels; ++c)
            out[c] = Reduction::join(out[c], Out(in[c]));
        }
    }
  }
}

// [rows][columns] to [columns][rows]
template <typename T> void transpose(const T* __restrict x, T* __restrict y, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      y[c * rows + r] = x[r * columns + c];
}

} // namespace

void sum_pool_rows(const float* x, float* y, const PoolShape& shape, int64_t first, int64_t last) {
  pool_rows<Sum>(x, y, shape, first, last);
}

void sum_pool_rows(const uint8_t* x, float* y, const PoolShape& shape, int64_t first, int64_t last) {
  pool_rows<Sum>(x, y, shape, first, last);
}

void sum_pool_rows(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t first, int64_t last) {
  pool_rows<Sum>(x, y, shape, first, last);
}

void max_pool_rows(const float* x, float* y, const PoolShape& shape, int64_t first, int64_t last) {
  pool_rows<Max>(x, y, shape, first, last);
}

void max_pool_rows(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t first, int64_t last) {
  pool_rows<Max>(x, y, shape, first, last);
}

void to_channels_last(const float* x, float* y, int64_t pixels, int32_t channels) {
  transpose(x, y, channels, pixels);
}

void to_channels_first(const float* x, float* y, int64_t pixels, int32_t channels) {
  transpose(x, y, pixels, channels);
}

void to_channels_first(const uint8_t* x, uint8_t* y, int64_t pixels, int32_t channels) {
  transpose(x, y, pixels, channels);
}

} // namespace hdlif
