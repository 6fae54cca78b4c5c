// Sums and maxima over windows; see kernels.h.

namespace {

template <typename Out> struct Sum {
  static constexpr Out kStart = Out(0);
  static Out join(Out total, Out entry) { return Out(total + entry); }
};

template <typename Out> struct Max;
template <> struct Max<float> {
  static constexpr float kStart = -__builtin_inff();
  static float join(float largest, float entry) { return entry > largest ? entry : largest; }
};
template <> struct Max<uint8_t> {
  static constexpr uint8_t kStart = 0;
  static uint8_t join(uint8_t largest, uint8_t entry) { return entry > largest ? entry : largest; }
};

template <typename Reduction, typename In, typename Out>
void pool_row(const In* __restrict x, Out* __restrict y, const PoolShape& s, int64_t row) {
  const In* image = x + row / s.out_height * s.in_height * s.in_width * s.channels;
  const int32_t y0 = int32_t(row % s.out_height) * s.stride_y - s.pad_y;
  const int32_t top = most(y0, 0), bottom = least(y0 + s.kernel_y, s.in_height);
  for (int32_t ox = 0; ox < s.out_width; ++ox, y += s.channels) {
    const int32_t x0 = ox * s.stride_x - s.pad_x;
    const int32_t left = most(x0, 0), right = least(x0 + s.kernel_x, s.in_width);
    for (int32_t c = 0; c < s.channels; ++c)
      y[c] = Reduction::kStart;
    for (int32_t iy = top; iy < bottom; ++iy)
      for (int32_t ix = left; ix < right; ++ix) {
        const In* in = image + (int64_t(iy) * s.in_width + ix) * s.channels;
        for (int32_t c = 0; c < s.channels; ++c)
          y[c] = Reduction::join(y[c], Out(in[c]));
      }
  }
}

} // namespace
