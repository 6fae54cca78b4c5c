// Products in bfloat16 on tiles; see bfloat16.h. Compiled with its own flags, like tiles.cpp.
#include "bfloat16.h"

#include "tiles.inl"

namespace hdlif {
namespace {

constexpr int kRow = kBfloatDepth;
constexpr int64_t kTile = kBfloatTile;

__mmask16 lanes(int64_t count) {
  return __mmask16(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
}

// Rounds sixteen numbers of each, and stores them one after another.
__m512i rounded(__m512 first, __m512 second) {
  return __m512i(_mm512_cvtne2ps_pbh(second, first));
}

void multiply(const uint16_t* rows, int64_t row_tile, int64_t blocks, const uint16_t* columns, int64_t depth,
              float* sums, int64_t sums_row, bool adds) {
  // columns that fit in the first-level cache
  constexpr int64_t kNear = 12;
  const Tiles tiles;
  const int64_t sums_bytes = sums_row * int64_t(sizeof(float));
  for (int64_t first = 0; first < depth; first += kNear, adds = true) {
    const int64_t last = first + kNear < depth ? first + kNear : depth;
    for (int64_t block = 0; block < blocks; ++block) {
      const uint16_t* upper = rows + 2 * block * row_tile + first * kTile;
      const uint16_t* lower = upper + row_tile;
      const uint16_t* at = columns + 2 * first * kTile;
      float* const to = sums + block * 2 * kTileRows * sums_row;
      float* const below = to + kTileRows * sums_row;
      if (adds) {
        _tile_loadd(0, to, sums_bytes);
        _tile_loadd(1, to + kTileLanes, sums_bytes);
        _tile_loadd(2, below, sums_bytes);
        _tile_loadd(3, below + kTileLanes, sums_bytes);
      } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
      }
      for (int64_t k = first; k < last; ++k, upper += kTile, lower += kTile, at += 2 * kTile) {
        _tile_loadd(6, at, kTileDepth);
        _tile_loadd(7, at + kTile, kTileDepth);
        _tile_loadd(4, upper, kTileDepth);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, lower, kTileDepth);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(0, to, sums_bytes);
      _tile_stored(1, to + kTileLanes, sums_bytes);
      _tile_stored(2, below, sums_bytes);
      _tile_stored(3, below + kTileLanes, sums_bytes);
    }
  }
}

void round_pixels(const float* maps, const float* scale, int64_t pixels, int32_t channels, uint16_t* to) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel, maps += channels)
    for (int64_t c = 0; c < channels; c += kRow, to += kRow) {
      const __mmask16 low = lanes(channels - c), high = lanes(channels - c - 16);
      const __m512 first =
          _mm512_mul_ps(_mm512_maskz_loadu_ps(low, maps + c), _mm512_maskz_loadu_ps(low, scale + c));
      const __m512 second = _mm512_mul_ps(_mm512_maskz_loadu_ps(high, maps + c + 16),
                                          _mm512_maskz_loadu_ps(high, scale + c + 16));
      _mm512_store_si512(to, rounded(first, second));
    }
}

void gather_rows(const uint16_t* pixels, int64_t parts, const int32_t* places, int64_t count, uint16_t* to,
                 int64_t row_tile) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t* at = to + i / kTileRows * row_tile + i % kTileRows * kRow;
    if (places[i] == kNoPixel) {
      for (int64_t part = 0; part < parts; ++part)
        _mm512_store_si512(at + part * kTile, _mm512_setzero_si512());
      continue;
    }
    const uint16_t* from = pixels + places[i] * parts * kRow;
    for (int64_t part = 0; part < parts; ++part)
      _mm512_store_si512(at + part * kTile, _mm512_load_si512(from + part * kRow));
  }
}

// Transposes a [16][16] block.
inline __attribute__((always_inline)) void transpose_16(__m512i* of) {
  __m512i other[16];
  for (int i = 0; i < 16; i += 2) {
    other[i] = _mm512_unpacklo_epi32(of[i], of[i + 1]);
    other[i + 1] = _mm512_unpackhi_epi32(of[i], of[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      of[i + 2 * j] = _mm512_unpacklo_epi64(other[i + j], other[i + 2 + j]);
      of[i + 2 * j + 1] = _mm512_unpackhi_epi64(other[i + j], other[i + 2 + j]);
    }
  // of[4 * a + b] now contains columns b, b + 4, b + 8 and b + 12 of rows 4 * a to 4 * a + 3
  for (int b = 0; b < 4; ++b) {
    const __m512i even = _mm512_shuffle_i32x4(of[b], of[4 + b], 0x88),
                  odd = _mm512_shuffle_i32x4(of[b], of[4 + b], 0xdd),
                  far_even = _mm512_shuffle_i32x4(of[8 + b], of[12 + b], 0x88),
                  far_odd = _mm512_shuffle_i32x4(of[8 + b], of[12 + b], 0xdd);
    other[b] = _mm512_shuffle_i32x4(even, far_even, 0x88);
    other[8 + b] = _mm512_shuffle_i32x4(even, far_even, 0xdd);
    other[4 + b] = _mm512_shuffle_i32x4(odd, far_odd, 0x88);
    other[12 + b] = _mm512_shuffle_i32x4(odd, far_odd, 0xdd);
  }
  for (int i = 0; i < 16; ++i)
    of[i] = other[i];
}

void channels_as_rows(const float* maps, int64_t pixels, int32_t channels, uint16_t* to, int64_t row_tile) {
  alignas(64) uint16_t joined[kRow];
  for (int i = 0; i < kRow; ++i)
    joined[i] = uint16_t(i / 2 + i % 2 * 16);
  const __m512i pairs = _mm512_load_si512(joined);
  const int64_t padded = (channels + kBfloatBlock - 1) / kBfloatBlock * kBfloatBlock;
  for (int64_t c = 0; c < padded; c += 16, to += row_tile) {
    const __mmask16 some = lanes(channels - c);
    const auto pixel = [&](int64_t which) {
      return _mm512_maskz_loadu_ps(which < pixels ? some : __mmask16(0), maps + which * channels + c);
    };
    __m512i of[16];
    for (int i = 0; i < 16; ++i)
      of[i] = _mm512_permutexvar_epi16(pairs, rounded(pixel(2 * i), pixel(2 * i + 1)));
    transpose_16(of);
    for (int i = 0; i < 16; ++i)
      _mm512_store_si512(to + i * kRow, of[i]);
  }
}

void codes_as_columns(const uint8_t* codes, int64_t stride, const int32_t* places, int64_t count,
                      uint16_t* to) {
  alignas(64) static const uint8_t zeros[kRow] = {};
  for (int64_t i = 0; i < count; i += 2, to += kRow) {
    const uint8_t* first = places[i] == kNoPixel ? zeros : codes + places[i] * stride;
    const uint8_t* second = places[i + 1] == kNoPixel ? zeros : codes + places[i + 1] * stride;
    // the lower half of a small integer as float32 is 0
    const auto widened = [](const uint8_t* from) {
      const __m128i some = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      return _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(some)));
    };
    for (int half = 0; half < 2; ++half)
      _mm512_store_si512(to + half * kTile, _mm512_or_si512(_mm512_srli_epi32(widened(first + half * 16), 16),
                                                            widened(second + half * 16)));
    if (i % kRow == kRow - 2)
      to += kTile;
  }
}

void weights_as_columns(const int8_t* weights, int64_t stride, int32_t out, int32_t in, int32_t taps,
                        uint16_t* to, const int64_t* offsets) {
  const __m512i at = _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(taps));
  const auto four = [&](int64_t co, int32_t tap) {
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), co < out ? lanes(in) : __mmask16(0), at,
                                       weights + co * stride + tap, 1);
  };
  const auto widened = [](__m512i bytes) {
    return _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(bytes, 24), 24)));
  };
  for (int64_t co = 0; co < kRow; co += 2)
    for (int32_t tap = 0; tap < taps; tap += 4) {
      __m512i first = four(co, tap), second = four(co + 1, tap);
      for (int32_t i = tap; i < tap + 4 && i < taps; ++i) {
        _mm512_store_si512(to + offsets[i] + co / 2 * kRow,
                           _mm512_or_si512(_mm512_srli_epi32(widened(first), 16), widened(second)));
        first = _mm512_srli_epi32(first, 8);
        second = _mm512_srli_epi32(second, 8);
      }
    }
}

void write_live(const float* sums, const uint8_t* live, int32_t count, float* to) {
  for (int32_t c = 0; c < count; c += 16) {
    const __mmask16 some = lanes(count - c);
    __mmask16 lives = some;
    if (live != nullptr) {
      const __m128i bytes = _mm_maskz_loadu_epi8(some, live + c);
      lives = _mm_test_epi8_mask(bytes, bytes);
    }
    _mm512_mask_storeu_ps(to + c, some, _mm512_maskz_loadu_ps(lives, sums + c));
  }
}

} // namespace

extern const BfloatKernels kBfloatKernels;
const BfloatKernels kBfloatKernels = {multiply,         round_pixels,       gather_rows, channels_as_rows,
                                      codes_as_columns, weights_as_columns, write_live};

} // namespace hdlif
