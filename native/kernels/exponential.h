// The exponential of docs/contributing/model_format.md.
#pragma once

#include <cstdint>

namespace hdlif {

// Returns e^-x for x >= 0, and e^-30 for x above 30 or NaN. Static, because the files that include it are
// compiled for different processors.
static inline float exponential(float x) {
  const float a = x < 30.0f ? x : 30.0f;
  const float n = __builtin_floorf(a * 1.44269504f + 0.5f);
  const float r = (a - n * 0.693359375f) - n * -2.12194440e-4f;
  const float coefficients[] = {-1.0f / 120, 1.0f / 24, -1.0f / 6, 0.5f, -1.0f, 1.0f};
  float p = 1.0f / 720;
  for (float coefficient : coefficients)
    p = p * r + coefficient;
  // 2^-n from its bits, so the product is exact: n <= 43
  const uint32_t bits = uint32_t(127 - int32_t(n)) << 23;
  float power;
  __builtin_memcpy(&power, &bits, sizeof(power));
  return p * power;
}

} // namespace hdlif
