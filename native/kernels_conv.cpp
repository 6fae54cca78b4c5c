#include "kernels_conv.h"

#include <algorithm>

namespace hdlif {
namespace {

CodeEvent event(int32_t offset, uint8_t code, CodeEvent) {
  return {offset, code};
}
template <typename In> FloatEvent event(int32_t offset, In value, FloatEvent) {
  return {offset, float(value)};
}

// The non-zero entries of one pixel. Writes each and advances past non-zero ones: no branch to mispredict.
template <typename In, typename Event>
int32_t gather(const In* pixel, int32_t channels, int32_t out_channels, Event* events) {
  int32_t count = 0;
  for (int32_t c = 0; c < channels; ++c) {
    events[count] = event(c * out_channels, pixel[c], Event{});
    count += pixel[c] != 0;
  }
  return count;
}

// Sums of kWidth output channels. The width is a constant so that the partial sums stay in registers.
template <int kWidth>
void sum_field(const CodeEvent* events, int64_t count, int64_t per_partial, const int8_t* w, float* y) {
  int32_t total[kWidth] = {};
  for (int64_t begin = 0; begin < count; begin += per_partial) {
    const int64_t end = std::min(begin + per_partial, count);
    int16_t partial[kWidth] = {};
    for (int64_t e = begin; e < end; ++e) {
      const int8_t* weights = w + events[e].offset;
      const int16_t code = int16_t(events[e].code);
      for (int i = 0; i < kWidth; ++i)
        partial[i] = int16_t(partial[i] + code * weights[i]);
    }
    for (int i = 0; i < kWidth; ++i)
      total[i] += partial[i];
  }
  for (int i = 0; i < kWidth; ++i)
    y[i] = float(total[i]);
}

template <int kWidth, typename Weight>
void sum_field(const FloatEvent* events, int64_t count, int64_t, const Weight* w, float* y) {
  float total[kWidth] = {};
  for (int64_t e = 0; e < count; ++e) {
    const Weight* weights = w + events[e].offset;
    const float value = events[e].value;
    for (int i = 0; i < kWidth; ++i)
      total[i] += value * float(weights[i]);
  }
  for (int i = 0; i < kWidth; ++i)
    y[i] = total[i];
}

template <typename Event, typename Weight>
void sum_channels(const Event* events, int64_t count, int64_t per_partial, const Weight* w, int32_t channels,
                  float* y) {
  int32_t c = 0;
  for (; c + 32 <= channels; c += 32)
    sum_field<32>(events, count, per_partial, w + c, y + c);
  for (; c + 16 <= channels; c += 16)
    sum_field<16>(events, count, per_partial, w + c, y + c);
  if (c < channels && channels >= 16) {
    // the last 16 channels once more rather than each of the rest alone: the same sums, written again
    c = channels - 16;
    sum_field<16>(events, count, per_partial, w + c, y + c);
    return;
  }
  for (; c < channels; ++c)
    sum_field<1>(events, count, per_partial, w + c, y + c);
}

template <typename In, typename Weight, typename Event>
void convolve(const In* x, const Weight* w, float* y, const ConvShape& s, int64_t first, int64_t last,
              const ConvScratch<Event>& scratch) {
  const int32_t ring_rows = s.ring_rows();
  const int64_t per_partial = s.max_code > 0 ? 32767 / (s.max_code * s.max_weight) : 0;
  int32_t next_row = 0; // input rows below this one have been gathered, or are no longer needed
  for (int64_t row = first; row < last; ++row) {
    const int64_t image = row / s.out_height;
    const int32_t oy = int32_t(row % s.out_height);
    const int32_t y0 = oy * s.stride_y - s.pad_y;
    const int32_t top = std::max(y0, 0), bottom = std::min(y0 + s.kernel_y, s.in_height);
    if (row == first || oy == 0)
      next_row = 0;
    for (next_row = std::max(next_row, top); next_row < bottom; ++next_row) {
      const In* line = x + (image * s.in_height + next_row) * s.in_width * s.in_channels;
      const int64_t slot = int64_t(next_row % ring_rows) * s.in_width;
      for (int32_t ix = 0; ix < s.in_width; ++ix)
        scratch.counts[slot + ix] = gather(line + int64_t(ix) * s.in_channels, s.in_channels, s.out_channels,
                                           scratch.ring + (slot + ix) * s.in_channels);
    }
    for (int32_t ox = 0; ox < s.out_width; ++ox) {
      const int32_t x0 = ox * s.stride_x - s.pad_x;
      const int32_t left = std::max(x0, 0), right = std::min(x0 + s.kernel_x, s.in_width);
      int64_t count = 0;
      for (int32_t iy = top; iy < bottom; ++iy)
        for (int32_t ix = left; ix < right; ++ix) {
          const int64_t tap = int64_t(iy - y0) * s.kernel_x + (ix - x0);
          const int32_t tap_offset = int32_t(tap * s.in_channels * s.out_channels);
          const int64_t pixel = int64_t(iy % ring_rows) * s.in_width + ix;
          const Event* events = scratch.ring + pixel * s.in_channels;
          for (int32_t e = 0; e < scratch.counts[pixel]; ++e) {
            scratch.field[count] = events[e];
            scratch.field[count++].offset += tap_offset;
          }
        }
      sum_channels(scratch.field, count, per_partial, w, s.out_channels,
                   y + (row * s.out_width + ox) * s.out_channels);
    }
  }
}

} // namespace

void conv_rows(const uint8_t* x, const int8_t* w, float* y, const ConvShape& shape, int64_t first,
               int64_t last, const ConvScratch<CodeEvent>& scratch) {
  convolve(x, w, y, shape, first, last, scratch);
}

void conv_rows(const float* x, const float* w, float* y, const ConvShape& shape, int64_t first, int64_t last,
               const ConvScratch<FloatEvent>& scratch) {
  convolve(x, w, y, shape, first, last, scratch);
}

void conv_rows(const float* x, const int8_t* w, float* y, const ConvShape& shape, int64_t first, int64_t last,
               const ConvScratch<FloatEvent>& scratch) {
  convolve(x, w, y, shape, first, last, scratch);
}

void conv_rows(const uint8_t* x, const float* w, float* y, const ConvShape& shape, int64_t first,
               int64_t last, const ConvScratch<FloatEvent>& scratch) {
  convolve(x, w, y, shape, first, last, scratch);
}

} // namespace hdlif
