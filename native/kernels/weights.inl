// Quantises latent weights to 1.5 bits; see kernels.h.

namespace {

// Returns |w|, at most 1; NaN stays NaN.
inline Floats magnitudes(Floats w) {
  const Floats zero{}, one = zero + 1.0f, magnitude = Floats(Integers(w) & 0x7fffffff);
  return magnitude > one ? one : magnitude;
}

void sum_magnitudes(const float* weights, int64_t count, float threshold, double* sum, int64_t* kept) {
  const Floats bound = Floats{} + threshold;
  Doubles sums[kSumParts] = {};
  Integers below[kSumParts] = {};
  const auto add = [&](int part, Floats w) __attribute__((always_inline)) {
    const Floats magnitude = magnitudes(w);
    const Integers is_below = magnitude <= bound; // false for NaN, which makes the sum NaN
    below[part] += is_below;
    sums[part] += __builtin_convertvector(is_below ? Floats{} : magnitude, Doubles);
  };
  int64_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes)
    for (int part = 0; part < kSumParts; ++part)
      add(part, at(weights + i + part * kFloats));
  const int64_t whole = i;
  if (i < count) {
    float rest[kSumLanes];
    for (int lane = 0; lane < kSumLanes; ++lane)
      rest[lane] = i + lane < count ? weights[i + lane] : 0.0f; // adds nothing, and is not below -1
    for (int part = 0; part < kSumParts; ++part)
      add(part, at(rest + part * kFloats));
  }
  double total = 0;
  int64_t all_below = 0;
  for (int part = 0; part < kSumParts; ++part)
    for (int lane = 0; lane < kFloats; ++lane) {
      total += sums[part][lane];
      all_below -= below[part][lane];
    }
  // padding zeros are counted as below any threshold except a negative one
  const int64_t padding = whole < count && threshold >= 0 ? kSumLanes - (count - whole) : 0;
  *sum = total;
  *kept = count - (all_below - padding);
}

// Returns the largest lane, or 0 if none is above 0.
inline float largest_of(Floats values) {
  float found = 0;
  for (int lane = 0; lane < kFloats; ++lane)
    found = values[lane] > found ? values[lane] : found;
  return found;
}

float write_signs(const float* weights, int8_t* to, int64_t count) {
  const Floats zero{};
  Floats largest{};
  int64_t i = 0;
  const auto sign = [&](Floats w, uint8_t* into) __attribute__((always_inline)) {
    const Floats magnitude = Floats(Integers(w) & 0x7fffffff);
    largest = magnitude > largest ? magnitude : largest;
    set_codes(into, (w < zero) - (w > zero)); // true is -1
  };
  for (; i + kFloats <= count; i += kFloats)
    sign(at(weights + i), reinterpret_cast<uint8_t*>(to + i));
  if (i < count) {
    float rest[kFloats] = {};
    uint8_t signs[kFloats];
    for (int64_t lane = 0; i + lane < count; ++lane)
      rest[lane] = weights[i + lane];
    sign(at(rest), signs);
    for (int64_t lane = 0; i + lane < count; ++lane)
      to[i + lane] = int8_t(signs[lane]);
  }
  return largest_of(largest);
}

float write_ternary(const float* weights, float* to, int64_t count, float threshold, float scale) {
  const Floats zero{}, above = zero + scale, bound = zero + threshold;
  Floats largest{};
  int64_t i = 0;
  const auto level = [&](Floats w) __attribute__((always_inline)) {
    const Floats magnitude = magnitudes(w);
    largest = magnitude > largest ? magnitude : largest;
    const Floats level = magnitude <= bound ? zero : above;
    return w < zero ? -level : level;
  };
  for (; i + kFloats <= count; i += kFloats)
    set(to + i, level(at(weights + i)));
  if (i < count) {
    float rest[kFloats] = {};
    for (int64_t lane = 0; i + lane < count; ++lane)
      rest[lane] = weights[i + lane];
    set(rest, level(at(rest)));
    for (int64_t lane = 0; i + lane < count; ++lane)
      to[i + lane] = rest[lane];
  }
  return largest_of(largest);
}

} // namespace
