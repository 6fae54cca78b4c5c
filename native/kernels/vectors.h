// Vectors: the only file that names instructions.
//
// For the look-up kernel, a vector of bytes has kLanes int8 lanes. `table` repeats 16 products in every 16
// lanes; `lookup` returns, for each lane, the product at its index (0..15); `widen_add` adds the lanes to
// kLanes int16 totals.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && !defined(HDLIF_PLAIN)
#define HDLIF_NEON 1
#include <arm_neon.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

namespace hdlif {
namespace {

// A vector register of float32.
#if defined(__AVX512F__)
constexpr int kFloats = 16;
#elif defined(__AVX2__)
constexpr int kFloats = 8;
#else
constexpr int kFloats = 4;
#endif
typedef float Floats __attribute__((vector_size(4 * kFloats)));
typedef float FloatsInMemory __attribute__((vector_size(4 * kFloats), aligned(4), may_alias));

inline Floats weights_at(const float* w) {
  return *reinterpret_cast<const FloatsInMemory*>(w);
}
inline Floats weights_at(const int8_t* w) {
#if defined(__AVX512F__)
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w))));
#elif defined(__AVX2__)
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(w))));
#else
  return Floats{float(w[0]), float(w[1]), float(w[2]), float(w[3])};
#endif
}

typedef int32_t Integers __attribute__((vector_size(4 * kFloats)));

inline Floats at(const float* from) {
  return *reinterpret_cast<const FloatsInMemory*>(from);
}
inline void set(float* to, Floats values) {
  *reinterpret_cast<FloatsInMemory*>(to) = values;
}

// Returns the sum of the lanes: adds halves to each other until one lane remains.
inline float sum_of_halves(Floats values) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const __m256 eight = _mm512_castps512_ps256(values) + _mm512_extractf32x8_ps(values, 1);
#else
  const __m256 eight = values;
#endif
  const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
  const __m128 two = four + _mm_movehl_ps(four, four);
  return _mm_cvtss_f32(two) + _mm_cvtss_f32(_mm_shuffle_ps(two, two, 1));
#else
  for (int width = kFloats / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i)
      values[i] = values[i] + values[i + width];
  return values[0];
#endif
}

// As many float64 as a register has float32, and the number of parallel sums, equal on every instruction set.
typedef double Doubles __attribute__((vector_size(8 * kFloats)));
typedef double DoublesInMemory __attribute__((vector_size(8 * kFloats), aligned(8), may_alias));
constexpr int kSumLanes = 16, kSumParts = kSumLanes / kFloats;

inline Doubles doubles_at(const double* from) {
  return *reinterpret_cast<const DoublesInMemory*>(from);
}
inline void set(double* to, Doubles values) {
  *reinterpret_cast<DoublesInMemory*>(to) = values;
}

// Returns the largest whole number not above each; compilers leave loops that call it unchanged.
inline Floats floors(Floats values) {
#if defined(__AVX512F__)
  return _mm512_roundscale_ps(values, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return _mm256_floor_ps(values);
#elif defined(HDLIF_NEON)
  return vrndmq_f32(values);
#elif defined(__wasm_simd128__)
  return Floats(wasm_f32x4_floor(v128_t(values)));
#else
  return Floats{__builtin_floorf(values[0]), __builtin_floorf(values[1]), __builtin_floorf(values[2]),
                __builtin_floorf(values[3])};
#endif
}
inline float floors(float value) {
  return __builtin_floorf(value);
}

// Converts integers in 0..255 to bytes.
inline void set_codes(uint8_t* to, Integers values) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(__m512i(values)));
#elif defined(__AVX2__)
  const __m256i bytes = _mm256_shuffle_epi8(
      __m256i(values), _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8,
                                        12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi32(low, high));
#else
  for (int i = 0; i < kFloats; ++i)
    to[i] = uint8_t(values[i]);
#endif
}

// Returns 1 for each set bit, else 0, from the lowest bit on; and the bits of numbers that are not 0.
inline Floats truths(uint32_t bits) {
  Integers lanes;
  for (int i = 0; i < kFloats; ++i)
    lanes[i] = 1 << i;
  const Integers one = Integers(Floats{} + 1.0f);
  return Floats(((lanes & int32_t(bits)) != 0) & one);
}
inline uint32_t bits_of(Floats values) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__AVX2__)
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(values, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kFloats; ++i)
    bits |= uint32_t(values[i] != 0) << i;
  return bits;
#endif
}

inline Floats add_product(Floats total, float x, Floats weight) {
  return total + x * weight;
}

// As above, with one rounding if the machine supports it, else with two.
inline Floats multiply_add(Floats total, float x, Floats weight) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(_mm512_set1_ps(x), weight, total);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(_mm256_set1_ps(x), weight, total);
#elif defined(HDLIF_NEON)
  return vfmaq_n_f32(total, weight, x);
#else
  return add_product(total, x, weight);
#endif
}

// If x * weight is exact, either way rounds only once, at the sum.
inline Floats add_exact_product(Floats total, float x, Floats weight) {
  return multiply_add(total, x, weight);
}

} // namespace
} // namespace hdlif

#if defined(__AVX2__) || defined(HDLIF_NEON) || defined(__wasm_simd128__)
#define HDLIF_HAS_LOOKUP 1

namespace hdlif {
namespace {

#if defined(__AVX2__)

struct Vector16 {
  static constexpr int kLanes = 16;
  using Bytes = __m128i;
  static Bytes zero() { return _mm_setzero_si128(); }
  static Bytes table(const int8_t* products) {
    return _mm_load_si128(reinterpret_cast<const Bytes*>(products));
  }
  static Bytes load(const uint8_t* index) { return _mm_loadu_si128(reinterpret_cast<const Bytes*>(index)); }
  static Bytes lookup(Bytes table, Bytes index) { return _mm_shuffle_epi8(table, index); }
  static Bytes add(Bytes a, Bytes b) { return _mm_add_epi8(a, b); }
  static void store(Bytes bytes, int8_t* to) { _mm_store_si128(reinterpret_cast<Bytes*>(to), bytes); }
  static void widen_add(Bytes bytes, int16_t* totals) {
    __m256i* to = reinterpret_cast<__m256i*>(totals);
    _mm256_storeu_si256(to, _mm256_add_epi16(_mm256_loadu_si256(to), _mm256_cvtepi8_epi16(bytes)));
  }
};

struct Vector32 {
  static constexpr int kLanes = 32;
  using Bytes = __m256i;
  static Bytes zero() { return _mm256_setzero_si256(); }
  static Bytes table(const int8_t* products) {
    return _mm256_broadcastsi128_si256(Vector16::table(products));
  }
  static Bytes load(const uint8_t* index) {
    return _mm256_loadu_si256(reinterpret_cast<const Bytes*>(index));
  }
  static Bytes lookup(Bytes table, Bytes index) { return _mm256_shuffle_epi8(table, index); }
  static Bytes add(Bytes a, Bytes b) { return _mm256_add_epi8(a, b); }
  static void store(Bytes bytes, int8_t* to) { _mm256_store_si256(reinterpret_cast<Bytes*>(to), bytes); }
  static void widen_add(Bytes bytes, int16_t* totals) {
    Vector16::widen_add(_mm256_castsi256_si128(bytes), totals);
    Vector16::widen_add(_mm256_extracti128_si256(bytes, 1), totals + 16);
  }
};

// Returns the bits of those of 64 codes that are not zero, or that differ from before.
inline uint64_t non_zero(const uint8_t* codes) {
  const __m256i* from = reinterpret_cast<const __m256i*>(codes);
  const __m256i zero = _mm256_setzero_si256();
  const uint32_t low = uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(from), zero)));
  const uint32_t high = uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(from + 1), zero)));
  return ~(uint64_t(high) << 32 | low);
}

inline uint64_t different(const uint8_t* codes, const uint8_t* before) {
  const auto equal = [](const uint8_t* a, const uint8_t* b) {
    return uint32_t(
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)),
                                               _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)))));
  };
  return ~(uint64_t(equal(codes + 32, before + 32)) << 32 | equal(codes, before));
}

#elif defined(__wasm_simd128__)

struct Vector16 {
  static constexpr int kLanes = 16;
  using Bytes = v128_t;
  static Bytes zero() { return wasm_i8x16_splat(0); }
  static Bytes table(const int8_t* products) { return wasm_v128_load(products); }
  static Bytes load(const uint8_t* index) { return wasm_v128_load(index); }
  static Bytes lookup(Bytes table, Bytes index) { return wasm_i8x16_swizzle(table, index); }
  static Bytes add(Bytes a, Bytes b) { return wasm_i8x16_add(a, b); }
  static void store(Bytes bytes, int8_t* to) { wasm_v128_store(to, bytes); }
  static void widen_add(Bytes bytes, int16_t* totals) {
    const Bytes low = wasm_i16x8_extend_low_i8x16(bytes), high = wasm_i16x8_extend_high_i8x16(bytes);
    wasm_v128_store(totals, wasm_i16x8_add(wasm_v128_load(totals), low));
    wasm_v128_store(totals + 8, wasm_i16x8_add(wasm_v128_load(totals + 8), high));
  }
};

#else

struct Vector16 {
  static constexpr int kLanes = 16;
  using Bytes = int8x16_t;
  static Bytes zero() { return vdupq_n_s8(0); }
  static Bytes table(const int8_t* products) { return vld1q_s8(products); }
  static uint8x16_t load(const uint8_t* index) { return vld1q_u8(index); }
  static Bytes lookup(Bytes table, uint8x16_t index) { return vqtbl1q_s8(table, index); }
  static Bytes add(Bytes a, Bytes b) { return vaddq_s8(a, b); }
  static void store(Bytes bytes, int8_t* to) { vst1q_s8(to, bytes); }
  static void widen_add(Bytes bytes, int16_t* totals) {
    vst1q_s16(totals, vaddw_s8(vld1q_s16(totals), vget_low_s8(bytes)));
    vst1q_s16(totals + 8, vaddw_high_s8(vld1q_s16(totals + 8), bytes));
  }
};

#endif

#if defined(__AVX512BW__)

struct Vector64 {
  static constexpr int kLanes = 64;
  using Bytes = __m512i;
  static Bytes zero() { return _mm512_setzero_si512(); }
  static Bytes table(const int8_t* products) { return _mm512_broadcast_i32x4(Vector16::table(products)); }
  static Bytes load(const uint8_t* index) { return _mm512_loadu_si512(index); }
  static Bytes lookup(Bytes table, Bytes index) { return _mm512_shuffle_epi8(table, index); }
  static Bytes add(Bytes a, Bytes b) { return _mm512_add_epi8(a, b); }
  static void store(Bytes bytes, int8_t* to) { _mm512_store_si512(to, bytes); }
  static void widen_add(Bytes bytes, int16_t* totals) {
    const __m512i low = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(bytes));
    const __m512i high = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(bytes, 1));
    _mm512_storeu_si512(totals, _mm512_add_epi16(_mm512_loadu_si512(totals), low));
    _mm512_storeu_si512(totals + 32, _mm512_add_epi16(_mm512_loadu_si512(totals + 32), high));
  }
};

#endif

} // namespace
} // namespace hdlif

#endif
