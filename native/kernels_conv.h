// Convolution of sparse maps, event by event. Plain pointers, no exceptions.
#pragma once

#include <cstdint>

namespace hdlif {

struct ConvShape {
  int32_t in_height, in_width, in_channels;
  int32_t out_height, out_width, out_channels;
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
  int32_t max_code;   // largest code of the input; 0 for float input
  int32_t max_weight; // largest magnitude of an integer weight

  int32_t ring_rows() const { return kernel_y < in_height ? kernel_y : in_height; }
};

// One non-zero entry of the input: its value, and where its weights [co] begin.
struct CodeEvent {
  int32_t offset;
  int32_t code;
};
struct FloatEvent {
  int32_t offset;
  float value;
};

// Working memory of one thread. Either event type takes 8 bytes.
//   ring    ring_rows * in_width * in_channels events: the input rows under the kernel, zeros left out
//   counts  ring_rows * in_width: the events of each pixel in `ring`
//   field   kernel_y * kernel_x * in_channels events at most: the receptive field of one output pixel
template <typename Event> struct ConvScratch {
  Event* ring;
  int32_t* counts;
  Event* field;
};

// Each overload computes output rows [first, last), counted over images (row = image * out_height + oy).
//   x  [images][in_height][in_width][in_channels], any alignment
//   w  [ky][kx][ci][co], at most 2^30 entries
//   y  [images][out_height][out_width][co], float32
//
// Integer sums: codes in 0..max_code times weights in -max_weight..max_weight. Partial sums of at most
// 32767 / (max_code * max_weight) events are held in int16 (|sum| <= 32767; at least one event, for
// 255 * 127 = 32385), totals in int32: the program's reader refuses fields of kernel_y * kernel_x *
// in_channels * max_code * max_weight >= 2^31 (a 3x3x512 field of 4-bit codes and ternary weights
// reaches 69,120, one of 8-bit codes and weights 149,230,080). The total is rounded to float32 once.
void conv_rows(const uint8_t* x, const int8_t* w, float* y, const ConvShape& shape, int64_t first,
               int64_t last, const ConvScratch<CodeEvent>& scratch);

// Float sums: float32, (ky, kx, ci) ascending, one multiplication and one addition at a time from +0.
// Leaving out x = 0 changes no bit: weights are finite, so the product is a zero, and a sum that
// began at +0 is never -0.
void conv_rows(const float* x, const float* w, float* y, const ConvShape& shape, int64_t first, int64_t last,
               const ConvScratch<FloatEvent>& scratch);
void conv_rows(const float* x, const int8_t* w, float* y, const ConvShape& shape, int64_t first, int64_t last,
               const ConvScratch<FloatEvent>& scratch);
void conv_rows(const uint8_t* x, const float* w, float* y, const ConvShape& shape, int64_t first,
               int64_t last, const ConvScratch<FloatEvent>& scratch);

} // namespace hdlif
