#include "gradient_tiles.h"

#include <algorithm>
#include <vector>

#include "../memory.h"
#include "../scratch.h"
#include "../transpose.h"
#include "training_pool.h"

namespace hdlif {
namespace {

// Numbers in the rows of a product that stay in a core's second-level cache.
constexpr int64_t kNear = 1 << 18;
// Pixels in the columns that stay in its first-level cache.
constexpr int64_t kPixels = 512;
// Maximum number of input pixels whose gradients are summed together.
constexpr int64_t kTogether = 256;
// The cost of laying out a number, in products.
constexpr int64_t kMoved = 8;

int64_t padded(int64_t count) {
  return pieces_of(count, kBfloatBlock) * kBfloatBlock;
}

// Maps pixels (y, x) of a grid to pixels (first + y * step, ...) of a map, for the same number of images.
struct Walk {
  int64_t grid_height, grid_width, height, width, step_y, step_x, first_y, first_x;

  // Lists the places of the grid's pixels [begin, end), counted over the images; kNoPixel outside the map.
  void list(int64_t begin, int64_t end, int32_t* to) const {
    while (begin < end) {
      const int64_t row = begin / grid_width, x = begin % grid_width;
      const int64_t y = row % grid_height * step_y + first_y;
      const int64_t count = std::min(end - begin, grid_width - x);
      const auto base = int32_t((row / grid_height * height + y) * width);
      const uint32_t limit = y >= 0 && y < height ? uint32_t(width) : 0;
      auto at = int32_t(x * step_x + first_x);
      for (int64_t i = 0; i < count; ++i, at += int32_t(step_x))
        *to++ = uint32_t(at) < limit ? base + at : kNoPixel;
      begin += count;
    }
  }
};

// Input pixels that are read by the same taps of the kernel, and their output pixels for each tap.
struct PixelClass {
  Walk to_input; // from a grid of these pixels to the input
  std::vector<int32_t> taps;
  std::vector<Walk> to_output; // for each tap
  int64_t first_tap;           // index of its first tap among those of all classes

  int64_t pixels() const { return to_input.grid_height * to_input.grid_width; }
};

std::vector<PixelClass> pixel_classes(const ConvShape& s) {
  const auto remainder = [](int32_t a, int32_t b) { return (a % b + b) % b; };
  std::vector<PixelClass> found;
  int64_t taps = 0;
  for (int32_t ry = 0; ry < s.stride_y; ++ry)
    for (int32_t rx = 0; rx < s.stride_x; ++rx) {
      PixelClass one;
      const int32_t y = remainder(ry - s.pad_y, s.stride_y), x = remainder(rx - s.pad_x, s.stride_x);
      const int64_t rows = y < s.in_height ? (s.in_height - 1 - y) / s.stride_y + 1 : 0;
      const int64_t columns = x < s.in_width ? (s.in_width - 1 - x) / s.stride_x + 1 : 0;
      one.to_input = {rows, columns, s.in_height, s.in_width, s.stride_y, s.stride_x, y, x};
      for (int32_t ky = ry; ky < s.kernel_y; ky += s.stride_y)
        for (int32_t kx = rx; kx < s.kernel_x; kx += s.stride_x) {
          one.taps.push_back(ky * s.kernel_x + kx);
          one.to_output.push_back({rows, columns, s.out_height, s.out_width, 1, 1,
                                   (y + s.pad_y - ky) / s.stride_y, (x + s.pad_x - kx) / s.stride_x});
        }
      one.first_tap = taps;
      taps += int64_t(one.taps.size());
      found.push_back(std::move(one));
    }
  return found;
}

// Returns the weights as columns: [block of ci][tap, in the order of the classes][block of co].
RawVector<uint16_t> weight_columns(const ConvShape& s, const BfloatKernels& kernels,
                                   const std::vector<PixelClass>& classes, const int8_t* weights,
                                   int threads) {
  const int64_t in = s.in_channels, out = s.out_channels, taps = int64_t(s.kernel_y) * s.kernel_x;
  const int64_t parts = pieces_of(out, kBfloatDepth), block = taps * parts * 2 * kBfloatTile;
  RawVector<uint16_t> columns(size_t(pieces_of(in, kBfloatBlock) * block));
  std::vector<int64_t> offsets(static_cast<size_t>(taps));
  for (const PixelClass& one : classes)
    for (size_t i = 0; i < one.taps.size(); ++i)
      offsets[size_t(one.taps[i])] = (one.first_tap + int64_t(i)) * parts * 2 * kBfloatTile;
  share_work(parts, kMoved * in * taps * kBfloatDepth, threads, [&](int64_t part) {
    const int64_t co = part * kBfloatDepth;
    for (int64_t ci = 0; ci < padded(in); ci += 16)
      kernels.weights_as_columns(
          weights + (co * in + ci) * taps, in * taps, int32_t(out - co), int32_t(in - ci), int32_t(taps),
          &columns[size_t(ci / kBfloatBlock * block + part * 2 * kBfloatTile + ci / 16 % 2 * kBfloatTile)],
          offsets.data());
  });
  return columns;
}

} // namespace

bool fills_bfloat_tiles(const ConvShape& s) {
  return padded(s.in_channels) * padded(s.out_channels) <= 3 * int64_t(s.in_channels) * s.out_channels;
}

void weight_gradient_in_bfloat16(const ConvShape& s, const BfloatKernels& kernels, const float* dy,
                                 int64_t images, const uint8_t* codes, float step, float* gradient,
                                 int threads) {
  const int64_t in = s.in_channels, out = s.out_channels, taps = int64_t(s.kernel_y) * s.kernel_x;
  const int64_t pixels = images * s.out_height * s.out_width, rows = padded(out);
  const int64_t blocks = pieces_of(in, kBfloatBlock), of_block = rows * kBfloatBlock;
  const int64_t length =
      std::clamp<int64_t>(kNear / rows / kPixels * kPixels, kPixels, pieces_of(pixels, kPixels) * kPixels);
  RawVector<uint16_t> of_maps(size_t(rows * length));
  RawVector<float> sums(size_t(taps * blocks * of_block)); // [tap][block][co][ci of the block]
  for (int64_t first = 0; first < pixels; first += length) {
    const int64_t last = std::min(first + length, pixels), depth = pieces_of(last - first, kBfloatDepth);
    const int64_t row_tile = depth * kBfloatTile;
    share_work(depth, kMoved * kBfloatDepth * rows, threads, [&](int64_t k) {
      const int64_t pixel = first + k * kBfloatDepth;
      kernels.channels_as_rows(dy + pixel * out, std::min<int64_t>(kBfloatDepth, last - pixel), int32_t(out),
                               &of_maps[size_t(k * kBfloatTile)], row_tile);
    });
    share_work(taps * blocks, of_block * (last - first) / 16, threads, [&](int64_t item) {
      const int64_t tap = item / blocks, block = item % blocks;
      const Walk walk{s.out_height,
                      s.out_width,
                      s.in_height,
                      s.in_width,
                      s.stride_y,
                      s.stride_x,
                      tap / s.kernel_x - s.pad_y,
                      tap % s.kernel_x - s.pad_x};
      Scratch scratch(Scratch::bytes<int32_t>(kPixels) + Scratch::bytes<uint16_t>(kPixels * kBfloatBlock));
      auto* const places = scratch.take<int32_t>(kPixels);
      auto* const columns = scratch.take<uint16_t>(kPixels * kBfloatBlock);
      for (int64_t begin = first; begin < last; begin += kPixels) {
        const int64_t end = std::min(begin + kPixels, last), count = padded(end - begin);
        walk.list(begin, end, places);
        std::fill(places + (end - begin), places + count, kNoPixel);
        kernels.codes_as_columns(codes + block * kBfloatBlock, in, places, count, columns);
        kernels.multiply(&of_maps[size_t((begin - first) / kBfloatDepth * kBfloatTile)], row_tile,
                         rows / kBfloatBlock, columns, count / kBfloatDepth, &sums[size_t(item * of_block)],
                         kBfloatBlock, begin > 0);
      }
    });
  }
  share_work(blocks * out, kMoved * kBfloatBlock * taps, threads, [&](int64_t item) {
    const int64_t block = item / out, co = item % out, ci = block * kBfloatBlock;
    Scratch scratch(Scratch::bytes<const float*>(taps));
    auto* const of_taps = scratch.take<const float*>(taps);
    for (int64_t tap = 0; tap < taps; ++tap)
      of_taps[tap] = &sums[size_t((tap * blocks + block) * of_block + co * kBfloatBlock)];
    transpose(of_taps, taps, std::min<int64_t>(kBfloatBlock, in - ci), step, gradient + (co * in + ci) * taps,
              taps);
  });
}

void input_gradient_in_bfloat16(const ConvShape& s, const BfloatKernels& kernels, const float* dy,
                                int64_t images, const int8_t* weights, const float* scale,
                                const uint8_t* live, float* gradient, int threads) {
  const int64_t in = s.in_channels, out = s.out_channels, taps = int64_t(s.kernel_y) * s.kernel_x;
  const int64_t parts = pieces_of(out, kBfloatDepth), blocks = pieces_of(in, kBfloatBlock);
  const int64_t of_block = taps * parts * 2 * kBfloatTile, sums_row = blocks * kBfloatBlock;
  const std::vector<PixelClass> classes = pixel_classes(s);
  const RawVector<uint16_t> columns = weight_columns(s, kernels, classes, weights, threads);
  const int64_t pixels = images * s.out_height * s.out_width, pixel = parts * kBfloatDepth;
  RawVector<uint16_t> maps(size_t(pixels * pixel));
  share_out(pixels, std::max<int64_t>(1, (1 << 16) / pixel), threads, [&](int64_t first, int64_t end) {
    kernels.round_pixels(dy + first * out, scale, end - first, int32_t(out), &maps[size_t(first * pixel)]);
  });
  const int64_t in_pixels = images * s.in_height * s.in_width / (int64_t(s.stride_y) * s.stride_x);
  const int64_t length = std::clamp<int64_t>(padded(in_pixels / (2 * threads)), kBfloatBlock, kTogether);
  // taps whose rows stay in the second-level cache
  const int64_t group = std::clamp<int64_t>(kNear / (length * pixel), 1, taps);
  struct Piece {
    const PixelClass* of;
    int64_t first, last;
  };
  std::vector<Piece> pieces;
  for (const PixelClass& one : classes)
    for (int64_t first = 0; first < images * one.pixels(); first += length)
      pieces.push_back({&one, first, std::min(first + length, images * one.pixels())});
  share_out(int64_t(pieces.size()), 1, threads, [&](int64_t which, int64_t) {
    const auto [of, first, last] = pieces[size_t(which)];
    const int64_t count = last - first, rows = padded(count);
    Scratch scratch(Scratch::bytes<int32_t>(length) + Scratch::bytes<uint16_t>(length * group * pixel) +
                    Scratch::bytes<float>(length * sums_row));
    auto* const places = scratch.take<int32_t>(length);
    auto* const of_maps = scratch.take<uint16_t>(length * group * pixel);
    auto* const sums = scratch.take<float>(length * sums_row);
    const auto all = int64_t(of->taps.size());
    if (all == 0) // no tap reads these pixels
      std::fill_n(sums, count * sums_row, 0.0f);
    for (int64_t begin = 0; begin < all; begin += group) {
      const int64_t end = std::min(begin + group, all), depth = (end - begin) * parts;
      const int64_t row_tile = depth * kBfloatTile;
      for (int64_t tap = begin; tap < end; ++tap) {
        of->to_output[size_t(tap)].list(first, last, places);
        std::fill(places + count, places + rows, kNoPixel);
        kernels.gather_rows(maps.data(), parts, places, rows, of_maps + (tap - begin) * parts * kBfloatTile,
                            row_tile);
      }
      for (int64_t block = 0; block < blocks; ++block)
        kernels.multiply(
            of_maps, row_tile, rows / kBfloatBlock,
            &columns[size_t(block * of_block + (of->first_tap + begin) * parts * 2 * kBfloatTile)], depth,
            sums + block * kBfloatBlock, sums_row, begin > 0);
    }
    of->to_input.list(first, last, places);
    for (int64_t i = 0; i < count; ++i)
      kernels.write_live(sums + i * sums_row, live == nullptr ? nullptr : live + places[i] * in, int32_t(in),
                         gradient + places[i] * in);
  });
}

} // namespace hdlif
