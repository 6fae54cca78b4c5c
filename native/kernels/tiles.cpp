// Sums of codes on AMX tiles; see kernels.h. Compiled with its own flags, so nothing here may be shared with
// another compilation: see instruction_set.cpp.
#include <immintrin.h>

#include "kernels.h"
#include "tiles.inl"

namespace hdlif {
namespace {

constexpr int kRows = kTileRows, kLanes = kTileLanes, kDepth = kTileDepth;
constexpr int kTileBytes = kRows * kDepth;

// Unpacks a tile of weights -1, 0 and 1, four per byte.
inline __attribute__((always_inline)) void unpack(const uint8_t* packed, int8_t* tile) {
  const __m512i low_pair =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 0, -1, 0, 1, 0, -1, 0, 1, 0, -1, 0, 1, 0, -1));
  const __m512i high_pair =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, -1, -1, -1, -1));
  const __m512i low_half = _mm512_set1_epi8(0x0f);
  for (int i = 0; i < kTileBytes; i += 256, packed += 64, tile += 256) {
    const __m512i four = _mm512_loadu_si512(packed);
    const __m512i low = _mm512_and_si512(four, low_half);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(four, 4), low_half);
    _mm512_store_si512(tile, _mm512_shuffle_epi8(low_pair, low));
    _mm512_store_si512(tile + 64, _mm512_shuffle_epi8(high_pair, low));
    _mm512_store_si512(tile + 128, _mm512_shuffle_epi8(low_pair, high));
    _mm512_store_si512(tile + 192, _mm512_shuffle_epi8(high_pair, high));
  }
}

// Sums [row][2 * lane] of two tiles of codes, before they are written to y.
struct Sums {
  alignas(64) int32_t of[2 * kRows][2 * kLanes];
};

inline __attribute__((always_inline)) void write_row(const Sums& sums, int row, const int64_t* to, float* y,
                                                     __mmask16 first, __mmask16 second) {
  if (to[row] == kNowhere)
    return;
  float* at = y + to[row];
  _mm512_mask_storeu_ps(at, first, _mm512_cvtepi32_ps(_mm512_load_si512(sums.of[row])));
  _mm512_mask_storeu_ps(at + kLanes, second, _mm512_cvtepi32_ps(_mm512_load_si512(sums.of[row] + kLanes)));
}

void sum_tiles(const TileRows& rows, const TileWeights& weights, float* y, int32_t channels) {
  const auto lanes = [&](int32_t from) {
    const int32_t count = channels - from;
    return __mmask16(count >= kLanes ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
  };
  const __mmask16 first = lanes(0), second = lanes(kLanes);
  const Tiles tiles;
  Sums sums[2];
  const int64_t row_bytes = rows.row_bytes;
  const int32_t depth = rows.depth, rows_between = (2 * kRows + depth - 1) / depth;
  // the sums of two tiles are written between the products of the next two
  const int64_t* to = nullptr;
  const Sums* done = nullptr;
  for (int32_t tile = 0; tile < rows.count; tile += 2) {
    const bool is_pair = tile + 1 < rows.count;
    const uint8_t* a = rows.codes + rows.first[tile];
    const uint8_t* b = rows.codes + rows.first[is_pair ? tile + 1 : tile];
    const int8_t* w = weights.bytes;
    const bool unpacks = weights.packed != nullptr && tile == 0;
    int written = 0;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int32_t k = 0; k < depth; ++k, w += 2 * kTileBytes) {
      if (unpacks) {
        int8_t* unpacked = weights.unpacked + int64_t(k) * 2 * kTileBytes;
        const uint8_t* packed = weights.packed + int64_t(k) * 2 * kTileBytes / 4;
        unpack(packed, unpacked);
        unpack(packed + kTileBytes / 4, unpacked + kTileBytes);
      }
      const int64_t tap = rows.taps[k];
      _tile_loadd(4, a + tap, row_bytes);
      _tile_loadd(6, w, kDepth);
      _tile_loadd(7, w + kTileBytes, kDepth);
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      if (is_pair) {
        _tile_loadd(5, b + tap, row_bytes);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
      if (done != nullptr)
        for (int i = 0; i < rows_between && written < 2 * kRows; ++i, ++written)
          write_row(*done, written, to, y, first, second);
    }
    Sums& now = sums[tile / 2 % 2];
    const int64_t bytes = sizeof(now.of[0]);
    _tile_stored(0, now.of[0], bytes);
    _tile_stored(1, now.of[0] + kLanes, bytes);
    _tile_stored(2, now.of[kRows], bytes);
    _tile_stored(3, now.of[kRows] + kLanes, bytes);
    done = &now;
    to = rows.to + int64_t(tile) * kRows;
  }
  const int rest = rows.count % 2 == 0 ? 2 * kRows : kRows;
  for (int row = 0; done != nullptr && row < rest; ++row)
    write_row(*done, row, to, y, first, second);
}

} // namespace

extern const TileKernel kTileKernel;
const TileKernel kTileKernel = sum_tiles;

} // namespace hdlif
