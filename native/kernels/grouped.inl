// Convolution of one output row with groups of channels; see kernels.h.

namespace {

// The input channels of a block of output channels: all channels of one group; one channel each, if groups
// have one input and one output channel; or the channels of each one's group.
enum class Meets { kOneGroup, kNeighbours, kGroups };

// Sums output channels first, ..., first + kWidth - 1 of output pixel ox. The width is a constant, so the
// sums stay in registers.
template <Meets kMeets, int kWidth, typename In, typename Weight, typename Total>
void sum_grouped(const In* const* rows, const Weight* w, float* y, const ConvShape& s, int32_t ox,
                 int32_t first) {
  const int32_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const int32_t x0 = ox * s.stride_x - s.pad_x;
  int32_t begin[kWidth]; // first input channel of each output channel
  for (int i = 0; i < kWidth; ++i)
    begin[i] = (first + i) / out * in;
  Total total[kWidth] = {};
  for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
    if (rows[ky] == nullptr)
      continue;
    for (int32_t kx = 0; kx < s.kernel_x; ++kx) {
      const int32_t ix = x0 + kx * s.dilation_x;
      if (ix < 0 || ix >= s.in_width)
        continue;
      const In* x = rows[ky] + int64_t(ix) * s.in_channels;
      const Weight* weights = w + (int64_t(ky) * s.kernel_x + kx) * in * s.out_channels + first;
      for (int32_t ci = 0; ci < in; ++ci, weights += s.out_channels) {
        if constexpr (kMeets == Meets::kOneGroup) {
          const In value = x[begin[0] + ci];
          if (sizeof(In) == 1 && value == 0) // most codes are
            continue;
          for (int i = 0; i < kWidth; ++i)
            total[i] = total[i] + Total(value) * Total(weights[i]);
        } else if constexpr (kMeets == Meets::kNeighbours) {
          for (int i = 0; i < kWidth; ++i)
            total[i] = total[i] + Total(x[first + i]) * Total(weights[i]);
        } else {
          for (int i = 0; i < kWidth; ++i)
            total[i] = total[i] + Total(x[begin[i] + ci]) * Total(weights[i]);
        }
      }
    }
  }
  for (int i = 0; i < kWidth; ++i)
    y[first + i] = float(total[i]);
}

// Sums channels begin, ..., end - 1 in blocks. An incomplete last block overlaps the previous one, if any,
// and sums those channels again.
template <Meets kMeets, int kWidth, typename In, typename Weight, typename Total>
void sum_grouped_blocks(const In* const* rows, const Weight* w, float* y, const ConvShape& s, int32_t ox,
                        int32_t begin, int32_t end) {
  int32_t c = begin;
  for (; c + kWidth <= end; c += kWidth)
    sum_grouped<kMeets, kWidth, In, Weight, Total>(rows, w, y, s, ox, c);
  if (c < end && end - begin >= kWidth) {
    sum_grouped<kMeets, kWidth, In, Weight, Total>(rows, w, y, s, ox, end - kWidth);
    return;
  }
  for (; c < end; ++c)
    sum_grouped<Meets::kOneGroup, 1, In, Weight, Total>(rows, w, y, s, ox, c);
}

// `Total` is int32 for codes and integer weights: the graph's reader rejects sums that may exceed 2^31.
template <typename In, typename Weight, typename Total>
void grouped_row(const In* const* rows, const Weight* w, float* y, const ConvShape& s) {
  const int32_t out = s.out_channels / s.groups;
  const auto blocks = out >= 16  ? sum_grouped_blocks<Meets::kOneGroup, 16, In, Weight, Total>
                      : out >= 8 ? sum_grouped_blocks<Meets::kOneGroup, 8, In, Weight, Total>
                      : s.in_channels > s.groups || out > 1
                          ? sum_grouped_blocks<Meets::kGroups, 16, In, Weight, Total>
                      : s.groups >= 64 ? sum_grouped_blocks<Meets::kNeighbours, 64, In, Weight, Total>
                                       : sum_grouped_blocks<Meets::kNeighbours, 16, In, Weight, Total>;
  const int32_t together = out >= 8 ? out : s.out_channels;
  for (int32_t ox = 0; ox < s.out_width; ++ox, y += s.out_channels)
    for (int32_t c = 0; c < s.out_channels; c += together)
      blocks(rows, w, y, s, ox, c, c + together);
}

} // namespace
