// Layers of codes on tiles, drawn at random: the sums are those of plain loops, by a kernel of plain loops on
// every machine and by that of this one, if it has tiles; and nothing beyond what is given is read or written
// (for the sanitizers).
//
//   tiles_test [CASES]
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "drawn_shape.h"
#include "tiles.h"

using namespace hdlif;

namespace {

std::mt19937 generator(20261201);
constexpr int64_t kReadAhead = 64; // that may be read behind codes

int32_t draw(int32_t low, int32_t high) {
  return low + int32_t(generator() % uint32_t(high - low + 1));
}

// What the kernel on tiles is to do, a product at a time.
void plain_tiles(const TileRows& rows, const TileWeights& weights, float* y, int32_t channels) {
  for (int32_t i = 0; weights.packed != nullptr && i < rows.depth * 2 * kTileLanes * kTileDepth; ++i) {
    const int code = weights.packed[i / 256 * 64 + i % 64] >> 2 * (i / 64 % 4) & 3;
    weights.unpacked[i] = int8_t(code == 3 ? -1 : code);
  }
  for (int32_t row = 0; row < rows.count * kTileRows; ++row)
    for (int32_t c = 0; c < channels && rows.to[row] != kNowhere; ++c) {
      const uint8_t* codes = rows.codes + rows.first[row / kTileRows] + row % kTileRows * rows.row_bytes;
      int32_t sum = 0;
      for (int32_t k = 0; k < rows.depth; ++k)
        for (int32_t i = 0; i < kTileDepth; ++i) {
          const int32_t tile = (k * 2 + c / kTileLanes) * kTileLanes * kTileDepth;
          sum += codes[rows.taps[k] + i] * weights.bytes[tile + i / 4 * 64 + c % kTileLanes * 4 + i % 4];
        }
      y[rows.to[row] + c] = float(sum);
    }
}

struct Case {
  ConvShape shape;
  int64_t images, steps;
  std::vector<uint8_t> codes; // [step][image][y][x][channel]
  std::vector<int8_t> weights;

  int64_t in_pixels() const { return int64_t(shape.in_height) * shape.in_width; }
  int64_t rows() const { return images * shape.out_height; }

  float sum(int64_t step, int64_t row, int32_t ox, int32_t co) const {
    const ConvShape& s = shape;
    const int64_t image = row / s.out_height, oy = row % s.out_height;
    int32_t sum = 0;
    for (int32_t ky = 0; ky < s.kernel_y; ++ky)
      for (int32_t kx = 0; kx < s.kernel_x; ++kx) {
        const int64_t iy = oy * s.stride_y + ky * s.dilation_y - s.pad_y;
        const int64_t ix = int64_t(ox) * s.stride_x + kx * s.dilation_x - s.pad_x;
        for (int32_t ci = 0; iy >= 0 && iy < s.in_height && ix >= 0 && ix < s.in_width && ci < s.in_channels;
             ++ci) {
          const int64_t pixel = (step * images + image) * in_pixels() + iy * s.in_width + ix;
          sum +=
              codes[size_t(pixel * s.in_channels + ci)] *
              weights[size_t(((ky * s.kernel_x + kx) * int64_t(s.in_channels) + ci) * s.out_channels + co)];
        }
      }
    return float(sum);
  }
};

Case drawn() {
  Case c;
  ConvShape& s = c.shape;
  s = drawn_shape(draw, 2);
  s.in_channels = draw(30, 140);
  s.out_channels = draw(20, 100);
  const int32_t codes[] = {1, 15, 255}, weights[] = {1, 7, 127};
  s.max_code = codes[draw(0, 2)];
  s.max_weight = weights[draw(0, 2)];
  c.images = draw(1, 4);
  c.steps = draw(1, 6);
  for (int64_t i = 0; i < c.steps * c.images * c.in_pixels() * s.in_channels; ++i)
    c.codes.push_back(uint8_t(draw(0, 1) * draw(0, s.max_code)));
  c.codes.insert(c.codes.end(), kReadAhead, 255);
  for (int64_t i = 0; i < int64_t(s.kernel_y) * s.kernel_x * s.in_channels * s.out_channels; ++i)
    c.weights.push_back(int8_t(draw(-s.max_weight, s.max_weight)));
  return c;
}

// A layer in groups of rows that begin anywhere, with outputs by step and row, or by row and step.
bool check(const Case& c, TileForm form, TileKernel kernel) {
  const ConvShape& s = c.shape;
  const LineVector<uint8_t> weights = tile_weights(s, form, c.weights.data());
  TileGroup group(s, form, c.steps);
  LineVector<uint8_t> memory(size_t(group.bytes()), uint8_t(170));
  const int64_t frame = c.images * c.in_pixels() * s.in_channels, row = int64_t(s.out_width) * s.out_channels;
  const bool is_by_step = draw(0, 1) == 0;
  for (int64_t first = 0; first < c.rows();) {
    const int64_t last = std::min(c.rows(), first + draw(1, int32_t(group.most_rows())));
    const int64_t y_step = is_by_step ? (last - first) * row : row, y_row = is_by_step ? row : c.steps * row;
    std::vector<float> y(size_t((last - first) * c.steps * row), -1.0f);
    group.gather(c.codes.data(), frame, first, last, y_step, y_row, memory.data());
    for (int32_t block = 0; block < form.blocks; ++block)
      group.sum(kernel, weights.data(), block, y.data());
    for (int64_t t = 0; t < c.steps; ++t)
      for (int64_t r = first; r < last; ++r)
        for (int32_t x = 0; x < s.out_width; ++x)
          for (int32_t co = 0; co < s.out_channels; ++co) {
            const float found = y[size_t(t * y_step + (r - first) * y_row + x * s.out_channels + co)];
            if (const float wanted = c.sum(t, r, x, co); found != wanted) {
              std::printf(
                  "step %d row %d pixel %d channel %d: %g, not %g; kernel %dx%d, stride %d %d, %d to %d "
                  "channels, %d steps\n",
                  int(t), int(r), x, co, double(found), double(wanted), s.kernel_y, s.kernel_x, s.stride_y,
                  s.stride_x, s.in_channels, s.out_channels, int(c.steps));
              return false;
            }
          }
    first = last;
  }
  return true;
}

} // namespace

int main(int argc, char** argv) {
  const Kernels* tables[8];
  const int count = available_kernels(tables, 8);
  const TileKernel own = tables[count - 1]->sum_tiles;
  for (int i = 0, cases = argc > 1 ? std::atoi(argv[1]) : 60; i < cases; ++i) {
    const Case c = drawn();
    TileForm form = tile_form(c.shape);
    if (form.depth == 0)
      continue;
    for (const bool is_packed : {false, true}) {
      form.is_packed = is_packed;
      if (is_packed && c.shape.max_weight > 1)
        continue;
      if (!check(c, form, plain_tiles) || (own != nullptr && !check(c, form, own)))
        return 1;
    }
  }
  std::printf("%s\n", own != nullptr ? "plain tiles, and those of this machine" : "plain tiles");
  return 0;
}
