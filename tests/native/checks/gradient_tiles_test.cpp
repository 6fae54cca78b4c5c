// Gradients in bfloat16, drawn at random such that nothing is rounded: they are those of plain loops, by
// kernels of plain loops on every machine and by those of this one, if it has them, with any number of
// threads; and nothing beyond what is given is read or written (for the sanitizers).
//
//   gradient_tiles_test [CASES]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "drawn_shape.h"
#include "training/gradient_tiles.h"

using namespace hdlif;

namespace {

std::mt19937 generator(20261202);
constexpr int64_t kReadAhead = 64; // that may be read behind codes
constexpr int64_t kRow = kBfloatDepth, kTile = kBfloatTile;

int32_t draw(int32_t low, int32_t high) {
  return low + int32_t(generator() % uint32_t(high - low + 1));
}

uint16_t narrow(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return uint16_t(bits >> 16);
}

float widen(uint16_t number) {
  const uint32_t bits = uint32_t(number) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Where number k of a column is.
int64_t in_columns(int64_t k, int64_t column) {
  return k / kRow * 2 * kTile + column / 16 * kTile + k % kRow / 2 * kRow + column % 16 * 2 + k % 2;
}

void multiply(const uint16_t* rows, int64_t row_tile, int64_t blocks, const uint16_t* columns, int64_t depth,
              float* sums, int64_t sums_row, bool adds) {
  for (int64_t row = 0; row < blocks * kBfloatBlock; ++row)
    for (int64_t column = 0; column < kBfloatBlock; ++column) {
      float& sum = sums[row * sums_row + column];
      sum = adds ? sum : 0;
      for (int64_t k = 0; k < depth * kRow; ++k)
        sum += widen(rows[row / 16 * row_tile + k / kRow * kTile + row % 16 * kRow + k % kRow]) *
               widen(columns[in_columns(k, column)]);
    }
}

void round_pixels(const float* maps, const float* scale, int64_t pixels, int32_t channels, uint16_t* to) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel)
    for (int64_t c = 0; c < (channels + kRow - 1) / kRow * kRow; ++c)
      *to++ = c < channels ? narrow(maps[pixel * channels + c] * scale[c]) : uint16_t(0);
}

void gather_rows(const uint16_t* pixels, int64_t parts, const int32_t* places, int64_t count, uint16_t* to,
                 int64_t row_tile) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t k = 0; k < parts * kRow; ++k)
      to[i / 16 * row_tile + k / kRow * kTile + i % 16 * kRow + k % kRow] =
          places[i] == kNoPixel ? uint16_t(0) : pixels[places[i] * parts * kRow + k];
}

void channels_as_rows(const float* maps, int64_t pixels, int32_t channels, uint16_t* to, int64_t row_tile) {
  for (int64_t c = 0; c < (channels + kBfloatBlock - 1) / kBfloatBlock * kBfloatBlock; ++c)
    for (int64_t k = 0; k < kRow; ++k)
      to[c / 16 * row_tile + c % 16 * kRow + k] =
          c < channels && k < pixels ? narrow(maps[k * channels + c]) : uint16_t(0);
}

void codes_as_columns(const uint8_t* codes, int64_t stride, const int32_t* places, int64_t count,
                      uint16_t* to) {
  for (int64_t k = 0; k < count; ++k)
    for (int64_t c = 0; c < kBfloatBlock; ++c)
      to[in_columns(k, c)] = places[k] == kNoPixel ? uint16_t(0) : narrow(codes[places[k] * stride + c]);
}

void weights_as_columns(const int8_t* weights, int64_t stride, int32_t out, int32_t in, int32_t taps,
                        uint16_t* to, const int64_t* offsets) {
  for (int64_t k = 0; k < kRow; ++k)
    for (int64_t c = 0; c < 16; ++c)
      for (int32_t tap = 0; tap < taps; ++tap)
        to[offsets[tap] + in_columns(k, c)] =
            k < out && c < in ? narrow(weights[k * stride + c * taps + tap]) : uint16_t(0);
}

void write_live(const float* sums, const uint8_t* live, int32_t count, float* to) {
  for (int32_t c = 0; c < count; ++c)
    to[c] = live == nullptr || live[c] != 0 ? sums[c] : 0.0f;
}

constexpr BfloatKernels kPlain = {multiply,         round_pixels,       gather_rows, channels_as_rows,
                                  codes_as_columns, weights_as_columns, write_live};

struct Case {
  ConvShape shape;
  int64_t images;
  std::vector<uint8_t> codes, live;
  std::vector<int8_t> weights;
  std::vector<float> scale, dy, of_weights, of_input; // the gradients, too
};

Case drawn() {
  Case c;
  ConvShape& s = c.shape;
  s = drawn_shape(draw);
  s.in_channels = draw(1, 70);
  s.out_channels = draw(1, 70);
  c.images = draw(1, 9);
  const int64_t taps = int64_t(s.kernel_y) * s.kernel_x, in = s.in_channels, out = s.out_channels;
  const int64_t in_pixels = int64_t(s.in_height) * s.in_width;
  for (int64_t i = 0; i < c.images * in_pixels * in; ++i) {
    c.codes.push_back(uint8_t(draw(0, 1) * draw(0, 255)));
    c.live.push_back(uint8_t(draw(0, 1)));
  }
  c.codes.insert(c.codes.end(), kReadAhead, 255);
  for (int64_t i = 0; i < out * in * taps; ++i)
    c.weights.push_back(int8_t(draw(-1, 1)));
  c.weights.insert(c.weights.end(), 3, 127);
  for (int64_t co = 0; co < out; ++co)
    c.scale.push_back(float(draw(1, 2)));
  for (int64_t i = 0; i < c.images * s.out_height * s.out_width * out; ++i)
    c.dy.push_back(float(draw(-8, 8)) / 4);
  c.of_weights.assign(size_t(out * in * taps), 0);
  c.of_input.assign(c.live.size(), 0);
  for (int64_t image = 0; image < c.images; ++image)
    for (int64_t oy = 0; oy < s.out_height; ++oy)
      for (int64_t ox = 0; ox < s.out_width; ++ox)
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t iy = oy * s.stride_y - s.pad_y + tap / s.kernel_x;
          const int64_t ix = ox * s.stride_x - s.pad_x + tap % s.kernel_x;
          if (iy < 0 || iy >= s.in_height || ix < 0 || ix >= s.in_width)
            continue;
          const float* back = &c.dy[size_t(((image * s.out_height + oy) * s.out_width + ox) * out)];
          const int64_t from = (image * in_pixels + iy * s.in_width + ix) * in;
          for (int64_t co = 0; co < out; ++co)
            for (int64_t ci = 0; ci < in; ++ci) {
              const auto weight = size_t((co * in + ci) * taps + tap);
              c.of_weights[weight] += c.codes[size_t(from + ci)] * back[co] * 0.5f;
              c.of_input[size_t(from + ci)] += c.weights[weight] * back[co] * c.scale[size_t(co)];
            }
        }
  return c;
}

bool check(const Case& c, const BfloatKernels& kernels, int threads) {
  const ConvShape& s = c.shape;
  std::vector<float> of_weights(c.of_weights.size(), -1.0f), of_input(c.of_input.size(), -1.0f),
      live = of_input;
  weight_gradient_in_bfloat16(s, kernels, c.dy.data(), c.images, c.codes.data(), 0.5f, of_weights.data(),
                              threads);
  input_gradient_in_bfloat16(s, kernels, c.dy.data(), c.images, c.weights.data(), c.scale.data(), nullptr,
                             of_input.data(), threads);
  input_gradient_in_bfloat16(s, kernels, c.dy.data(), c.images, c.weights.data(), c.scale.data(),
                             c.live.data(), live.data(), threads);
  bool is_right = of_weights == c.of_weights && of_input == c.of_input;
  for (size_t i = 0; i < live.size(); ++i)
    is_right = is_right && live[i] == (c.live[i] != 0 ? c.of_input[i] : 0.0f);
  if (!is_right)
    std::printf("other gradients with %d threads: %d images of %dx%d, kernel %dx%d, stride %d %d, padding %d "
                "%d, %d to %d channels\n",
                threads, int(c.images), s.in_height, s.in_width, s.kernel_y, s.kernel_x, s.stride_y,
                s.stride_x, s.pad_y, s.pad_x, s.in_channels, s.out_channels);
  return is_right;
}

} // namespace

int main(int argc, char** argv) {
  const Kernels* tables[8];
  const int count = available_kernels(tables, 8);
  const BfloatKernels* own = tables[count - 1]->bfloat16;
  for (int i = 0, cases = argc > 1 ? std::atoi(argv[1]) : 60; i < cases; ++i) {
    const Case c = drawn();
    for (const int threads : {1, 3})
      if (!check(c, kPlain, threads) || (own != nullptr && !check(c, *own, threads)))
        return 1;
  }
  std::printf("%s\n", own != nullptr ? "plain kernels, and those of this machine" : "plain kernels");
  return 0;
}
