#include "kernels_pointwise.h"

namespace hdlif {
namespace {

// Calls body(leak of c, threshold of c, index) for every entry. Shared rows are read once, so that the
// loop over entries has nothing to load but the maps.
template <bool kLeak, bool kThreshold, typename Body>
void for_rows(Row leak, Row threshold, int64_t pixels, int32_t channels, Body body) {
  const float shared_leak = leak.data[0], shared_threshold = threshold.data[0];
  if constexpr (!kLeak && !kThreshold) {
    for (int64_t i = 0; i < pixels * channels; ++i)
      body(shared_leak, shared_threshold, i);
  } else {
    for (int64_t p = 0; p < pixels; ++p)
      for (int32_t c = 0; c < channels; ++c)
        body(kLeak ? leak.data[c] : shared_leak, kThreshold ? threshold.data[c] : shared_threshold,
             p * channels + c);
  }
}

template <typename Body>
void for_entries(Row leak, Row threshold, int64_t pixels, int32_t channels, Body body) {
  const bool leaks = leak.columns > 1, thresholds = threshold.columns > 1;
  if (leaks && thresholds)
    for_rows<true, true>(leak, threshold, pixels, channels, body);
  else if (leaks)
    for_rows<true, false>(leak, threshold, pixels, channels, body);
  else if (thresholds)
    for_rows<false, true>(leak, threshold, pixels, channels, body);
  else
    for_rows<false, false>(leak, threshold, pixels, channels, body);
}

float surplus(float membrane, float threshold) {
  const float above = membrane - threshold;
  return above > 0.0f ? above : 0.0f;
}

} // namespace

void affine(const float* __restrict x, float* __restrict y, const float* __restrict scale,
            const float* __restrict shift, int64_t pixels, int32_t channels) {
  for (int64_t p = 0; p < pixels; ++p, x += channels, y += channels)
    for (int32_t c = 0; c < channels; ++c)
      y[c] = x[c] * scale[c] + shift[c];
}

void hd_lif(const float* __restrict x, float* __restrict potential, float* __restrict y, Row leak,
            Row threshold, int64_t pixels, int32_t channels) {
  for_entries(leak, threshold, pixels, channels, [=](float leak_c, float threshold_c, int64_t i) {
    const float membrane = leak_c * potential[i] + x[i];
    y[i] = surplus(membrane, threshold_c);
    potential[i] = membrane < threshold_c ? membrane : threshold_c;
  });
}

void parallel(const float* __restrict x, float* __restrict y, Row threshold, int64_t pixels,
              int32_t channels) {
  const float no_leak = 0.0f;
  for_entries({&no_leak, 1}, threshold, pixels, channels,
              [=](float, float threshold_c, int64_t i) { y[i] = surplus(x[i], threshold_c); });
}

void lif(const float* __restrict x, float* __restrict potential, uint8_t* __restrict y, Row leak,
         Row threshold, Reset reset, int64_t pixels, int32_t channels) {
  for_entries(leak, threshold, pixels, channels, [=](float leak_c, float threshold_c, int64_t i) {
    const float membrane = leak_c * potential[i] + x[i];
    const bool fires = membrane >= threshold_c;
    const float after = reset.hard ? reset.potential : membrane - threshold_c;
    y[i] = fires;
    potential[i] = fires ? after : membrane;
  });
}

void quantise(const float* __restrict x, uint8_t* __restrict y, float inverse_step, float offset,
              float largest, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float positive = x[i] > 0.0f ? x[i] : 0.0f;
    const float scaled = positive * inverse_step + offset;
    // clipped before the cast, which is undefined beyond the range of int; truncation is the floor here
    y[i] = uint8_t(int32_t(scaled < largest ? scaled : largest));
  }
}

void add(const float* __restrict x, const float* __restrict y, float* __restrict z, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    z[i] = x[i] + y[i];
}

void widen(const uint8_t* __restrict x, float* __restrict y, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = float(x[i]);
}

} // namespace hdlif
