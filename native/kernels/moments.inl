// Sums and sums of squares for batch norm; see kernels.h. The square of a float32 is exact in float64.

namespace {

void add_moments(const float* pixels, int64_t count, int32_t channels, double* sums, double* squares) {
  int32_t c = 0;
  for (; c + kFloats <= channels; c += kFloats) {
    Doubles sum = doubles_at(sums + c), square = doubles_at(squares + c);
    for (int64_t i = 0; i < count; ++i) {
      const Doubles x = __builtin_convertvector(at(pixels + i * channels + c), Doubles);
      sum += x;
      square += x * x;
    }
    set(sums + c, sum);
    set(squares + c, square);
  }
  for (; c < channels; ++c)
    for (int64_t i = 0; i < count; ++i) {
      const double x = pixels[i * channels + c];
      sums[c] += x;
      squares[c] += x * x;
    }
}

void plane_moments(const float* plane, int64_t count, double* sum, double* squares) {
  Doubles sums[kSumParts] = {}, of_squares[kSumParts] = {};
  const auto add = [&](const float* from) __attribute__((always_inline)) {
    for (int part = 0; part < kSumParts; ++part) {
      const Doubles x = __builtin_convertvector(at(from + part * kFloats), Doubles);
      sums[part] += x;
      of_squares[part] += x * x;
    }
  };
  int64_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes)
    add(plane + i);
  if (i < count) {
    float rest[kSumLanes] = {};
    for (int64_t lane = 0; i + lane < count; ++lane)
      rest[lane] = plane[i + lane];
    add(rest);
  }
  *sum = *squares = 0;
  for (int part = 0; part < kSumParts; ++part)
    for (int lane = 0; lane < kFloats; ++lane) {
      *sum += sums[part][lane];
      *squares += of_squares[part][lane];
    }
}

} // namespace
