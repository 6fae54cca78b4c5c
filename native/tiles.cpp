#include "tiles.h"

#include <algorithm>
#include <cstring>

namespace hdlif {
namespace {

constexpr int64_t kPairBytes = 2 * kTileLanes * kTileDepth;

// Bytes of sums that stay in the second-level cache until the next op has read them.
constexpr int64_t kSumBytes = 1 << 18;
constexpr int64_t kMostRows = 64;

// Weights larger than this do not stay in that cache, and are packed if possible.
constexpr int64_t kFarBytes = 1 << 18;

} // namespace

TileForm tile_form(const ConvShape& s) {
  TileForm form;
  const int64_t padded = pieces_of(s.in_channels, kTileDepth) * kTileDepth *
                         pieces_of(s.out_channels, 2 * kTileLanes) * 2 * kTileLanes;
  if (s.groups > 1 || padded > kMostPadded * s.in_channels * s.out_channels)
    return form;
  const auto per_pixel = int32_t(pieces_of(s.in_channels, kTileDepth));
  form.depth = s.kernel_y * s.kernel_x * per_pixel;
  form.blocks = int32_t(pieces_of(s.out_channels, 2 * kTileLanes));
  form.channels = per_pixel * kTileDepth;
  form.is_packed = s.max_weight == 1 && form.blocks * form.block_bytes() > kFarBytes;
  return form;
}

void lay_tiles(const ConvShape& s, const TileForm& form, const int8_t* weights, TileOrder order,
               int32_t first, int32_t last, int8_t* to) {
  const int32_t taps = s.kernel_y * s.kernel_x, parts = form.depth / taps;
  for (int32_t co = first; co < last; co += kTileLanes) {
    const int32_t lanes = std::min(kTileLanes, last - co);
    int8_t* const half =
        to + co / (2 * kTileLanes) * form.block_bytes() + co / kTileLanes % 2 * (kPairBytes / 2);
    for (int32_t ci = 0; ci < s.in_channels; ci += 4) {
      const int32_t channels = std::min(4, s.in_channels - ci);
      int8_t* line = half + ci / kTileDepth * kPairBytes + ci % kTileDepth / 4 * (kTileLanes * 4);
      const int8_t* from = weights + co * order.out + ci * order.in;
      for (int32_t tap = 0; tap < taps; ++tap, line += parts * kPairBytes, from += order.tap)
        for (int32_t lane = 0; lane < lanes; ++lane)
          for (int32_t channel = 0; channel < channels; ++channel)
            line[lane * 4 + channel] = from[lane * order.out + channel * order.in];
    }
  }
}

LineVector<uint8_t> tile_weights(const ConvShape& s, const TileForm& form, const int8_t* weights) {
  LineVector<int8_t> laid(size_t(form.blocks * form.block_bytes()), int8_t(0));
  const TileOrder order{1, s.out_channels, int64_t(s.in_channels) * s.out_channels};
  lay_tiles(s, form, weights, order, 0, s.out_channels, laid.data());
  if (!form.is_packed)
    return LineVector<uint8_t>(laid.begin(), laid.end());
  LineVector<uint8_t> packed(laid.size() / 4);
  for (size_t i = 0; i < packed.size(); ++i) {
    const int8_t* four = &laid[i / 64 * 256 + i % 64];
    packed[i] = uint8_t((four[0] & 3) | (four[64] & 3) << 2 | (four[128] & 3) << 4 | (four[192] & 3) << 6);
  }
  return packed;
}

struct TileGroup::Memory {
  int64_t *first, *to, *taps;
  float* sums;
  int8_t* unpacked;
  uint8_t* codes;
  int64_t bytes;
};

TileGroup::TileGroup(const ConvShape& shape, const TileForm& form, int64_t steps)
    : s_(shape), form_(form), steps_(steps) {
  const auto reach = [](int32_t kernel, int32_t dilation, int32_t stride) {
    return (int64_t(kernel) - 1) * dilation / stride;
  };
  columns_ = s_.out_width + reach(s_.kernel_x, s_.dilation_x, s_.stride_x);
  reach_ = reach(s_.kernel_y, s_.dilation_y, s_.stride_y);
  most_rows_ = std::clamp<int64_t>(
      kSumBytes / (s_.out_width * steps * s_.out_channels * int64_t(sizeof(float))), 1, kMostRows);
  const int64_t images = std::min(most_rows_, (most_rows_ - 1) / s_.out_height + 2);
  packed_rows_ = most_rows_ + images * reach_;
}

TileGroup::Memory TileGroup::laid_out(uint8_t* memory) const {
  Memory laid{};
  const auto take = [&](int64_t bytes) {
    uint8_t* taken = memory ? memory + laid.bytes : nullptr;
    laid.bytes += pieces_of(bytes, 64) * 64;
    return taken;
  };
  const int64_t tiles = most_rows_ * pieces_of(s_.out_width * steps_, kTileRows);
  const int64_t pixel = steps_ * form_.channels;
  laid.first = reinterpret_cast<int64_t*>(take(tiles * int64_t(sizeof(int64_t))));
  laid.to = reinterpret_cast<int64_t*>(take((tiles + 1) / 2 * 2 * kTileRows * int64_t(sizeof(int64_t))));
  laid.taps = reinterpret_cast<int64_t*>(take(form_.depth * int64_t(sizeof(int64_t))));
  laid.sums = reinterpret_cast<float*>(
      take(most_rows_ * steps_ * s_.out_width * s_.out_channels * int64_t(sizeof(float))));
  laid.unpacked = reinterpret_cast<int8_t*>(take(form_.is_packed ? form_.block_bytes() : 0));
  // the padding rows of the last tile read beyond the end of the codes
  laid.codes = take(int64_t(s_.stride_y) * s_.stride_x * packed_rows_ * columns_ * pixel +
                    kTileRows * int64_t(form_.channels));
  return laid;
}

int64_t TileGroup::bytes() const {
  return laid_out(nullptr).bytes;
}

float* TileGroup::sums(uint8_t* memory) const {
  return laid_out(memory).sums;
}

// Returns the number of tiles of this many rows of an image; if a tile `joins` rows, it includes the columns
// between them.
int64_t TileGroup::tiles_of(int64_t rows, bool joins) const {
  if (joins)
    return pieces_of(((rows - 1) * columns_ + s_.out_width) * steps_, kTileRows);
  return rows * pieces_of(s_.out_width * steps_, kTileRows);
}

// Lists the offset of each tap from an output pixel's first tap.
void TileGroup::list_taps(const Memory& laid) const {
  const int64_t pixel = steps_ * form_.channels, row = columns_ * pixel, plane = packed_rows_ * row;
  const int32_t parts = form_.channels / kTileDepth;
  for (int32_t k = 0; k < form_.depth; ++k) {
    const int32_t tap = k / parts;
    const int64_t y = int64_t(tap / s_.kernel_x) * s_.dilation_y,
                  x = int64_t(tap % s_.kernel_x) * s_.dilation_x;
    laid.taps[k] = (y % s_.stride_y * s_.stride_x + x % s_.stride_x) * plane + y / s_.stride_y * row +
                   x / s_.stride_x * pixel + k % parts * kTileDepth;
  }
}

double TileGroup::cycles(int64_t rows) const {
  // measured; a product of two tiles takes 16 cycles if nothing waits for it
  constexpr double kPairOfProducts = 36, kUnpacking = 100, kEntry = 0.4;
  const int64_t of_image = std::min<int64_t>(rows, s_.out_height);
  const double tiles =
      double(std::min(tiles_of(of_image, true), tiles_of(of_image, false))) * double(rows) / double(of_image);
  const double groups = double(pieces_of(rows, most_rows_));
  const double entries = double(rows * steps_ * s_.out_width) * s_.out_channels;
  return double(form_.blocks) * form_.depth *
             (tiles * kPairOfProducts + (form_.is_packed ? groups * kUnpacking : 0)) +
         entries * kEntry;
}

void TileGroup::gather(const uint8_t* codes, int64_t frame_bytes, int64_t first, int64_t last, int64_t y_step,
                       int64_t y_row, uint8_t* memory) {
  const Memory laid = laid_out(memory);
  if (memory_ != memory) {
    list_taps(laid);
    listed_ = 0;
  }
  memory_ = memory;
  const int64_t pixel = steps_ * form_.channels, row_bytes = columns_ * pixel;
  const int64_t plane_bytes = packed_rows_ * row_bytes;
  const int64_t in_row = int64_t(s_.in_width) * s_.in_channels;
  int64_t packed = 0; // rows of each plane so far
  const bool is_one_image = first / s_.out_height == (last - 1) / s_.out_height;
  const bool is_listed = is_one_image && listed_ == last - first;
  if (!is_listed)
    tiles_ = 0;
  for (int64_t row = first; row < last;) {
    const int64_t image = row / s_.out_height, top = row % s_.out_height;
    const int64_t rows = std::min(last - row, s_.out_height - top);
    for (int64_t plane = 0; plane < int64_t(s_.stride_y) * s_.stride_x; ++plane)
      for (int64_t r = 0; r < rows + reach_; ++r) {
        uint8_t* to = laid.codes + plane * plane_bytes + (packed + r) * row_bytes;
        const int64_t iy = (top + r) * s_.stride_y + plane / s_.stride_x - s_.pad_y;
        const bool is_inside = iy >= 0 && iy < s_.in_height;
        const uint8_t* from = codes + (image * s_.in_height + iy) * in_row;
        for (int64_t c = 0; c < columns_; ++c, to += pixel) {
          const int64_t ix = c * s_.stride_x + plane % s_.stride_x - s_.pad_x;
          if (!is_inside || ix < 0 || ix >= s_.in_width)
            std::memset(to, 0, size_t(pixel));
          else
            // the codes after a pixel's last channel are multiplied by weights of 0
            for (int64_t t = 0; t < steps_; ++t)
              for (int32_t part = 0; part < form_.channels; part += kTileDepth)
                std::memcpy(to + t * form_.channels + part,
                            from + t * frame_bytes + ix * s_.in_channels + part, kTileDepth);
        }
      }
    if (!is_listed)
      list_tiles(laid, packed, rows, row - first, y_step, y_row);
    packed += rows + reach_;
    row += rows;
  }
  listed_ = is_one_image ? last - first : 0;
}

// Lists the tiles of `rows` rows of one image, stored from row `packed` of each plane; the first is output
// row `r`.
void TileGroup::list_tiles(const Memory& laid, int64_t packed, int64_t rows, int64_t r, int64_t y_step,
                           int64_t y_row) {
  const bool joins = tiles_of(rows, true) < tiles_of(rows, false);
  const int64_t runs = joins ? 1 : rows, lines = joins ? rows : 1;
  for (int64_t run = 0; run < runs; ++run) {
    int64_t* to = laid.to + tiles_ * kTileRows;
    const int64_t* const begin = to;
    for (int64_t line = 0; line < lines; ++line)
      for (int64_t x = 0; x < (line + 1 < lines ? columns_ : s_.out_width); ++x)
        for (int64_t t = 0; t < steps_; ++t)
          *to++ = x < s_.out_width ? t * y_step + (r + run + line) * y_row + x * s_.out_channels : kNowhere;
    const int64_t tiles = pieces_of(to - begin, kTileRows);
    std::fill(to, laid.to + (tiles_ + tiles) * kTileRows, kNowhere);
    for (int64_t i = 0; i < tiles; ++i)
      laid.first[tiles_++] = ((packed + run) * columns_ * steps_ + i * kTileRows) * form_.channels;
  }
}

void TileGroup::sum(TileKernel kernel, const uint8_t* weights, int32_t block, float* y) const {
  const Memory laid = laid_out(memory_);
  const uint8_t* stored = weights + block * form_.stored_bytes();
  TileWeights of_block{reinterpret_cast<const int8_t*>(stored), nullptr, nullptr};
  if (form_.is_packed)
    of_block = {laid.unpacked, stored, laid.unpacked};
  const int32_t first = block * 2 * kTileLanes;
  kernel({laid.codes, laid.first, laid.taps, laid.to, form_.channels, int32_t(tiles_), form_.depth}, of_block,
         y + first, std::min(s_.out_channels - first, 2 * kTileLanes));
}

} // namespace hdlif
