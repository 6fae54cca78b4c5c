// Batch norm: sums for the statistics, the application of rows, and gradients; see kernels.h. The square of a
// float32, and the product of two, are exact in float64.

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

// Calls each(entry, row) for pixels [pixel][channel] whose row is the channel, or for a plane, whose row is
// 0.
template <typename Each>
[[gnu::always_inline]] inline void each_entry(int64_t count, int32_t channels, bool is_plane, Each&& each) {
  if (is_plane) {
    for (int64_t i = 0; i < count; ++i)
      each(i, 0);
    return;
  }
  for (int64_t pixel = 0; pixel < count; ++pixel)
    for (int32_t c = 0; c < channels; ++c)
      each(pixel * channels + c, c);
}

void normalise(const float* x, const float* mean, const float* scale, const float* shift, const float* plus,
               int64_t count, int32_t channels, bool is_plane, float* y) {
  if (plus == nullptr)
    each_entry(count, channels, is_plane, [&](int64_t i, int32_t row) __attribute__((always_inline)) {
      y[i] = scale[row] * (x[i] - mean[row]) + shift[row];
    });
  else
    each_entry(count, channels, is_plane, [&](int64_t i, int32_t row) __attribute__((always_inline)) {
      y[i] = (scale[row] * (x[i] - mean[row]) + shift[row]) + plus[i];
    });
}

void maps_gradient(const float* gradient, const float* x, const float* scale, const float* shift,
                   const float* slope, int64_t count, int32_t channels, bool is_plane, float* to) {
  if (scale == nullptr)
    each_entry(count, channels, is_plane, [&](int64_t i, int32_t row) __attribute__((always_inline)) {
      to[i] = gradient[i] + (shift[row] + slope[row] * x[i]);
    });
  else
    each_entry(count, channels, is_plane, [&](int64_t i, int32_t row) __attribute__((always_inline)) {
      to[i] = scale[row] * gradient[i] + (shift[row] + slope[row] * x[i]);
    });
}

void add_plane_sums(const float* gradient, const float* x, float mean, int64_t count, double* sum,
                    double* product) {
  Doubles sums[kSumParts] = {}, products[kSumParts] = {};
  const auto add = [&](const float* of, const float* from) __attribute__((always_inline)) {
    for (int part = 0; part < kSumParts; ++part) {
      const Doubles g = __builtin_convertvector(at(of + part * kFloats), Doubles);
      sums[part] += g;
      products[part] += g * __builtin_convertvector(at(from + part * kFloats) - mean, Doubles);
    }
  };
  int64_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes)
    add(gradient + i, x + i);
  if (i < count) {
    float rest[kSumLanes] = {}, from[kSumLanes] = {};
    for (int64_t lane = 0; i + lane < count; ++lane)
      rest[lane] = gradient[i + lane], from[lane] = x[i + lane];
    add(rest, from);
  }
  for (int part = 0; part < kSumParts; ++part)
    for (int lane = 0; lane < kFloats; ++lane) {
      *sum += sums[part][lane];
      *product += products[part][lane];
    }
}

void add_row_sums(const float* gradient, const float* x, const float* mean, int64_t count, int32_t channels,
                  bool is_plane, double* sums, double* products) {
  if (is_plane)
    return add_plane_sums(gradient, x, *mean, count, sums, products);
  int32_t c = 0;
  for (; c + kFloats <= channels; c += kFloats) {
    const Floats of_channel = at(mean + c);
    Doubles sum = doubles_at(sums + c), product = doubles_at(products + c);
    for (int64_t i = 0; i < count; ++i) {
      const Doubles g = __builtin_convertvector(at(gradient + i * channels + c), Doubles);
      sum += g;
      product += g * __builtin_convertvector(at(x + i * channels + c) - of_channel, Doubles);
    }
    set(sums + c, sum);
    set(products + c, product);
  }
  for (; c < channels; ++c)
    for (int64_t i = 0; i < count; ++i) {
      const double g = gradient[i * channels + c];
      sums[c] += g;
      products[c] += g * double(x[i * channels + c] - mean[c]);
    }
}

} // namespace
