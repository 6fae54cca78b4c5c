// Winograd's F(4x4, 3x3). A tile of 6x6 pixels and a kernel become 36 numbers each. Their products, number by
// number, give 4x4 pixels; see training/winograd.h. The columns of a panel fill the registers of a row of
// sums.

namespace {

constexpr int kWinogradVectors = 2, kWinogradPanel = kWinogradVectors * kFloats;
#if defined(__AVX512F__)
constexpr int kWinogradRows = 12;
#elif defined(__AVX2__)
constexpr int kWinogradRows = 6;
#else
constexpr int kWinogradRows = 4;
#endif

constexpr int kTile = kWinogradTile, kAround = kTile + 2, kNumbers = kAround * kAround;

// The points 0, a, -a, b, -b and infinity, chosen for small rounding errors (Barabasz et al., arXiv
// 1803.10986, compare some), and the factors of the rows of G.
constexpr float kA = 0.75f, kB = 1.5f, kA2 = kA * kA, kB2 = kB * kB, kA3 = kA * kA2, kB3 = kB * kB2;
constexpr float kOf0 = 1 / (kA2 * kB2), kOfA = 1 / (2 * kA2 * (kA2 - kB2)),
                kOfB = 1 / (2 * kB2 * (kB2 - kA2));

// Returns x * a + y.
inline Floats scaled(float x, Floats a, Floats y) {
  return multiply_add(y, x, a);
}

// Computes B^T d of one column, or one row.
inline void spread(const Floats* d, int step, Floats* to) {
  const Floats d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step];
  const Floats even_a = scaled(-kB2, d2, d4), odd_a = kA * scaled(-kB2, d1, d3);
  const Floats even_b = scaled(-kA2, d2, d4), odd_b = kB * scaled(-kA2, d1, d3);
  to[0] = scaled(kA2 * kB2, d[0], scaled(-(kA2 + kB2), d2, d4));
  to[step] = even_a + odd_a;
  to[2 * step] = even_a - odd_a;
  to[3 * step] = even_b + odd_b;
  to[4 * step] = even_b - odd_b;
  to[5 * step] = scaled(kA2 * kB2, d1, scaled(-(kA2 + kB2), d3, d[5 * step]));
}

// Computes A d.
inline void spread_sums(const Floats* d, int step, Floats* to, int to_step) {
  const Floats d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
  const Floats even_a = scaled(kA2, d2, d0), odd_a = scaled(kA3, d3, kA * d1);
  const Floats even_b = scaled(kB2, d2, d0), odd_b = scaled(kB3, d3, kB * d1);
  to[0] = d0;
  to[to_step] = even_a + odd_a;
  to[2 * to_step] = even_a - odd_a;
  to[3 * to_step] = even_b + odd_b;
  to[4 * to_step] = even_b - odd_b;
  to[5 * to_step] = d3;
}

// Computes A^T m.
inline void collect(const Floats* m, int step, Floats* to, int to_step) {
  const Floats m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step];
  const Floats even_a = m1 + m2, odd_a = m1 - m2, even_b = m3 + m4, odd_b = m3 - m4;
  to[0] = m[0] + even_a + even_b;
  to[to_step] = scaled(kA, odd_a, kB * odd_b);
  to[2 * to_step] = scaled(kA2, even_a, kB2 * even_b);
  to[3 * to_step] = scaled(kA3, odd_a, scaled(kB3, odd_b, m[5 * step]));
}

// Computes G g.
inline void spread_kernel(const Floats* g, int step, Floats* to, int to_step) {
  const Floats g0 = g[0], g1 = g[step], g2 = g[2 * step];
  const Floats even_a = kOfA * scaled(kA2, g2, g0), odd_a = (kOfA * kA) * g1;
  const Floats even_b = kOfB * scaled(kB2, g2, g0), odd_b = (kOfB * kB) * g1;
  to[0] = kOf0 * g0;
  to[to_step] = even_a + odd_a;
  to[2 * to_step] = even_a - odd_a;
  to[3 * to_step] = even_b + odd_b;
  to[4 * to_step] = even_b - odd_b;
  to[5 * to_step] = g2;
}

// Computes G^T s.
inline void collect_kernel(const Floats* s, int step, Floats* to, int to_step) {
  const Floats s1 = s[step], s2 = s[2 * step], s3 = s[3 * step], s4 = s[4 * step];
  const Floats even_a = kOfA * (s1 + s2), even_b = kOfB * (s3 + s4);
  to[0] = scaled(kOf0, s[0], even_a + even_b);
  to[to_step] = scaled(kOfA * kA, s1 - s2, (kOfB * kB) * (s3 - s4));
  to[2 * to_step] = scaled(kA2, even_a, scaled(kB2, even_b, s[5 * step]));
}

void winograd_spread(const float* const* pixels, int32_t channels, float* to, int64_t plane) {
  for (int32_t c = 0; c < channels; c += kFloats) {
    Floats half[kNumbers], row[kAround];
    for (int x = 0; x < kAround; ++x) {
      Floats column[kAround];
      for (int y = 0; y < kAround; ++y)
        column[y] = at(pixels[kAround * y + x] + c);
      Floats found[kAround];
      spread(column, 1, found);
      for (int y = 0; y < kAround; ++y)
        half[kAround * y + x] = found[y];
    }
    for (int y = 0; y < kAround; ++y) {
      spread(half + kAround * y, 1, row);
      for (int x = 0; x < kAround; ++x)
        set(to + (kAround * y + x) * plane + c, row[x]);
    }
  }
}

void winograd_spread_sums(const float* const* pixels, int32_t channels, float* to, int64_t plane) {
  for (int32_t c = 0; c < channels; c += kFloats) {
    Floats half[kAround * kTile], row[kAround];
    for (int x = 0; x < kTile; ++x) {
      Floats column[kTile];
      for (int y = 0; y < kTile; ++y)
        column[y] = at(pixels[kTile * y + x] + c);
      spread_sums(column, 1, half + x, kTile);
    }
    for (int y = 0; y < kAround; ++y) {
      spread_sums(half + kTile * y, 1, row, 1);
      for (int x = 0; x < kAround; ++x)
        set(to + (kAround * y + x) * plane + c, row[x]);
    }
  }
}

void winograd_collect(const float* from, int64_t plane, int32_t channels, float* const* pixels) {
  for (int32_t c = 0; c < channels; c += kFloats) {
    Floats half[kTile * kAround], row[kTile];
    for (int x = 0; x < kAround; ++x) {
      Floats column[kAround];
      for (int y = 0; y < kAround; ++y)
        column[y] = at(from + (kAround * y + x) * plane + c);
      collect(column, 1, half + x, kAround);
    }
    for (int y = 0; y < kTile; ++y) {
      collect(half + kAround * y, 1, row, 1);
      for (int x = 0; x < kTile; ++x)
        if (pixels[kTile * y + x] != nullptr)
          set(pixels[kTile * y + x] + c, row[x]);
    }
  }
}

void winograd_spread_kernels(const float* taps, float* to, int64_t plane) {
  for (int v = 0; v < kWinogradPanel; v += kFloats) {
    Floats half[kAround * 3], row[kAround];
    for (int x = 0; x < 3; ++x) {
      Floats column[3];
      for (int y = 0; y < 3; ++y)
        column[y] = at(taps + (3 * y + x) * kWinogradPanel + v);
      spread_kernel(column, 1, half + x, 3);
    }
    for (int y = 0; y < kAround; ++y) {
      spread_kernel(half + 3 * y, 1, row, 1);
      for (int x = 0; x < kAround; ++x)
        set(to + (kAround * y + x) * plane + v, row[x]);
    }
  }
}

void winograd_collect_kernels(const float* sums, int64_t plane, float* taps) {
  for (int v = 0; v < kWinogradPanel; v += kFloats) {
    Floats half[3 * kAround], row[3];
    for (int x = 0; x < kAround; ++x) {
      Floats column[kAround];
      for (int y = 0; y < kAround; ++y)
        column[y] = at(sums + (kAround * y + x) * plane + v);
      collect_kernel(column, 1, half + x, kAround);
    }
    for (int y = 0; y < 3; ++y) {
      collect_kernel(half + kAround * y, 1, row, 1);
      for (int x = 0; x < 3; ++x)
        set(taps + (3 * y + x) * kWinogradPanel + v, row[x]);
    }
  }
}

// Computes c = a b, or c += a b; a [rows][count], b [count][kWinogradPanel].
template <int kRows>
__attribute__((always_inline)) inline void multiply_rows(const float* a, int64_t a_row, int64_t a_step,
                                                         const float* b, int64_t b_row, int64_t count,
                                                         float* c, int64_t c_row, bool adds) {
  Floats sums[kRows][kWinogradVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kWinogradVectors; ++v)
      sums[i][v] = adds ? at(c + i * c_row + v * kFloats) : Floats{};
  for (int64_t k = 0; k < count; ++k, a += a_step, b += b_row) {
    Floats of_b[kWinogradVectors];
    for (int v = 0; v < kWinogradVectors; ++v)
      of_b[v] = at(b + v * kFloats);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kWinogradVectors; ++v)
        sums[i][v] = multiply_add(sums[i][v], a[i * a_row], of_b[v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kWinogradVectors; ++v)
      set(c + i * c_row + v * kFloats, sums[i][v]);
}

void winograd_multiply(const float* a, int64_t a_row, int64_t a_step, int64_t rows, const float* b,
                       int64_t b_row, int64_t count, float* c, int64_t c_row, bool adds) {
  for (; rows >= kWinogradRows; rows -= kWinogradRows, a += kWinogradRows * a_row, c += kWinogradRows * c_row)
    multiply_rows<kWinogradRows>(a, a_row, a_step, b, b_row, count, c, c_row, adds);
  for (; rows >= 4; rows -= 4, a += 4 * a_row, c += 4 * c_row)
    multiply_rows<4>(a, a_row, a_step, b, b_row, count, c, c_row, adds);
  for (; rows > 0; --rows, a += a_row, c += c_row)
    multiply_rows<1>(a, a_row, a_step, b, b_row, count, c, c_row, adds);
}

} // namespace
