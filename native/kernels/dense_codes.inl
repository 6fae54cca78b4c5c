// Sums of codes and low-bit weights if many codes are not 0: computes every product, four at a time, in
// integers.

#if defined(__AVX2__)
#define HDLIF_HAS_DENSE_CODES 1
#endif

namespace {

#if defined(HDLIF_HAS_DENSE_CODES)

#if defined(__AVX512BW__)
typedef __m512i Quads;
constexpr int kDensePixels = 6;
inline Quads quads_at(const int8_t* from) {
  return _mm512_loadu_si512(from);
}
inline Quads repeated(const uint8_t* codes) {
  int32_t quad;
  __builtin_memcpy(&quad, codes, 4);
  return _mm512_set1_epi32(quad);
}
inline Quads no_quads() {
  return _mm512_setzero_si512();
}
// Sums pairs of products in int16, two per lane.
struct Pairs {
  static Quads add(Quads sums, Quads codes, Quads weights) {
    return _mm512_add_epi16(sums, _mm512_maddubs_epi16(codes, weights));
  }
  static Quads lanes(Quads sums) { return _mm512_madd_epi16(sums, _mm512_set1_epi16(1)); }
};
// Sums in int32. Some machines with AVX-512 lack this instruction, so it is in assembly and the compiler
// cannot choose it.
struct Whole {
  static Quads add(Quads sums, Quads codes, Quads weights) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(codes), "v"(weights));
    return sums;
  }
  static Quads lanes(Quads sums) { return sums; }
};
#else
typedef __m256i Quads;
constexpr int kDensePixels = 3;
inline Quads quads_at(const int8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
inline Quads repeated(const uint8_t* codes) {
  int32_t quad;
  __builtin_memcpy(&quad, codes, 4);
  return _mm256_set1_epi32(quad);
}
inline Quads no_quads() {
  return _mm256_setzero_si256();
}
struct Pairs {
  static Quads add(Quads sums, Quads codes, Quads weights) {
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, weights));
  }
  static Quads lanes(Quads sums) { return _mm256_madd_epi16(sums, _mm256_set1_epi16(1)); }
};
#endif

constexpr int kDenseVectors = 4, kDenseCodeLanes = kDenseVectors * kFloats;

// Sums some pixels of one output row, for one block of output channels.
template <typename Sums, int kPixels>
inline __attribute__((always_inline)) void dense_pixels(const uint8_t* const* rows, const int8_t* weights,
                                                        int32_t quads, int32_t ox, float* y, int32_t channels,
                                                        const ConvShape& s) {
  Quads sums[kPixels][kDenseVectors];
  for (auto& of_pixel : sums)
    for (auto& sum : of_pixel)
      sum = no_quads();
  const int64_t pixel = int64_t(quads) * 4, run = int64_t(s.kernel_x) * quads;
  for (int32_t ky = 0; ky < s.kernel_y; ++ky, weights += run * kDenseCodeLanes * 4) {
    if (rows[ky] == nullptr)
      continue;
    const uint8_t* codes = rows[ky] + ox * s.stride_x * pixel;
    const int8_t* at = weights;
    for (int64_t i = 0; i < run; ++i, codes += 4, at += kDenseCodeLanes * 4) {
      Quads w[kDenseVectors];
      for (int v = 0; v < kDenseVectors; ++v)
        w[v] = quads_at(at + v * 4 * kFloats);
      for (int p = 0; p < kPixels; ++p) {
        const Quads quad = repeated(codes + p * s.stride_x * pixel);
        for (int v = 0; v < kDenseVectors; ++v)
          sums[p][v] = Sums::add(sums[p][v], quad, w[v]);
      }
    }
  }
  for (int p = 0; p < kPixels; ++p)
    for (int v = 0; v < kDenseVectors; ++v) {
      float* to = y + p * int64_t(s.out_channels) + v * kFloats;
      const Floats values = __builtin_convertvector(Integers(Sums::lanes(sums[p][v])), Floats);
      if (const int32_t rest = channels - v * kFloats; rest >= kFloats)
        set(to, values);
      else
        for (int32_t i = 0; i < rest; ++i)
          to[i] = values[i];
    }
}

template <typename Sums, int kPixels>
inline __attribute__((always_inline)) void dense_rest(int32_t pixels, const uint8_t* const* rows,
                                                      const int8_t* weights, int32_t quads, int32_t ox,
                                                      float* y, int32_t channels, const ConvShape& s) {
  if (pixels == kPixels)
    return dense_pixels<Sums, kPixels>(rows, weights, quads, ox, y, channels, s);
  if constexpr (kPixels > 1)
    dense_rest<Sums, kPixels - 1>(pixels, rows, weights, quads, ox, y, channels, s);
}

template <typename Sums>
void dense_codes(const uint8_t* const* rows, const int8_t* weights, int32_t quads, float* y,
                 const ConvShape& s) {
  const int64_t block = int64_t(s.kernel_y) * s.kernel_x * quads * kDenseCodeLanes * 4;
  for (int32_t co = 0; co < s.out_channels; co += kDenseCodeLanes, weights += block)
    for (int32_t ox = 0; ox < s.out_width;) {
      // pieces of about the same size
      const int32_t rest = s.out_width - ox, pieces = (rest + kDensePixels - 1) / kDensePixels,
                    pixels = (rest + pieces - 1) / pieces;
      dense_rest<Sums, kDensePixels>(pixels, rows, weights, quads, ox, y + ox * int64_t(s.out_channels) + co,
                                     s.out_channels - co, s);
      ox += pixels;
    }
}

#endif

} // namespace
