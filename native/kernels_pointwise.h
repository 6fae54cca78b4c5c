// Ops that treat each entry by itself, and seca, which treats each map by itself. Maps are
// [pixels][channels], float32 but where codes are named. A row has one entry for all channels (columns == 1)
// or one for each (columns == channels). Inputs and outputs do not overlap; a potential is updated in place.
// Each entry takes the stated operations in the stated order, so any split of the pixels gives the same bits.
#pragma once

#include <cstdint>

namespace hdlif {

struct Row {
  const float* data;
  int32_t columns;
};

// y = x * scale + shift
void affine(const float* x, float* y, const float* scale, const float* shift, int64_t pixels,
            int32_t channels);

// m = leak * v + x; y = max(m - threshold, 0); v = min(m, threshold)
void hd_lif(const float* x, float* potential, float* y, Row leak, Row threshold, int64_t pixels,
            int32_t channels);

// y = max(x - threshold, 0)
void parallel(const float* x, float* y, Row threshold, int64_t pixels, int32_t channels);

// m = leak * v + x; y = max(m - threshold, 0); v = m >= threshold ? m - threshold : m
void graded_lif(const float* x, float* potential, float* y, Row leak, Row threshold, int64_t pixels,
                int32_t channels);

struct GlifRows {
  Row leak, leak_after_spike, gain, shift, shift_after_spike, threshold;
};

// v = leak_h * v + gain * x + shift_h; y = v >= threshold, where h = v >= threshold_before of the v that it
// is given: with h the rows "after spike". A NaN as threshold_before says that no step was before.
void glif(const float* x, float* potential, uint8_t* y, const GlifRows& rows, Row threshold_before,
          int64_t pixels, int32_t channels);

struct Reset {
  bool hard;
  float potential; // after a hard reset
};

// m = leak * v + x; y = m >= threshold; v = y ? (hard ? reset.potential : m - threshold) : m
void lif(const float* x, float* potential, uint8_t* y, Row leak, Row threshold, Reset reset, int64_t pixels,
         int32_t channels);

// y = min(floor(max(x, 0) * inverse_step + offset), largest); largest <= 255
void quantise(const float* x, uint8_t* y, Row inverse_step, float offset, float largest, int64_t pixels,
              int32_t channels);

// z = x + y
void add(const float* x, const float* y, float* z, int64_t count);

// y = x * sigmoid(bias + sum over j of weight[j] * a[c + j - (kernel - 1) / 2]) of one map, a = mean of x
// over the pixels, 0 beyond the channels; j ascending, products before sums. `scratch` has room for 2 *
// channels.
void seca(const float* x, float* y, Row weight, float bias, int64_t pixels, int32_t channels, float* scratch);

// codes as float32, exact
void widen(const uint8_t* x, float* y, int64_t count);

} // namespace hdlif
