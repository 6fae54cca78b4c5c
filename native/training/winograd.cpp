#include "winograd.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "training_pool.h"

namespace hdlif {
namespace {

constexpr int kTile = kWinogradTile, kAround = kTile + 2, kNumbers = kAround * kAround;
// Bytes that a thread transforms and multiplies together, which stay in its second-level cache.
constexpr int64_t kBlock = 768 << 10;
// Floats after each row, so that the distance between rows is not a power of two.
constexpr int64_t kGap = 16;

// Iterates over tiles.
class Tiles {
public:
  Tiles(const WinogradShape& shape, int64_t first)
      : height_(shape.height), width_(shape.width), image_(first / shape.tiles_of_image()) {
    const int64_t across = pieces_of(width_, kTile), in_image = first % shape.tiles_of_image();
    y_ = in_image / across * kTile;
    x_ = in_image % across * kTile;
  }

  void next() {
    if ((x_ += kTile) < width_)
      return;
    x_ = 0;
    if ((y_ += kTile) < height_)
      return;
    y_ = 0;
    ++image_;
  }

  // Lists the tile's pixels, or its pixels and their surroundings; `outside` for pixels outside the map.
  template <int kSize, typename T> void pixels(T* maps, int64_t channels, T* outside, T** to) const {
    const int64_t top = y_ - (kSize - kTile) / 2, left = x_ - (kSize - kTile) / 2;
    T* const corner = maps + ((image_ * height_ + top) * width_ + left) * channels;
    const bool is_inside = top >= 0 && left >= 0 && top + kSize <= height_ && left + kSize <= width_;
    for (int64_t y = 0; y < kSize; ++y)
      for (int64_t x = 0; x < kSize; ++x) {
        const bool is_there =
            is_inside || (top + y >= 0 && top + y < height_ && left + x >= 0 && left + x < width_);
        *to++ = is_there ? corner + (y * width_ + x) * channels : outside;
      }
  }

private:
  int64_t height_, width_, image_, y_, x_;
};

// Returns the number of tiles of a block whose numbers take `floats` floats: as many as fit, in multiples of
// 12, which every kernel divides into complete rows.
int64_t tiles_of_block(int64_t floats, int64_t tiles) {
  const int64_t fit = kBlock / (kNumbers * floats * int64_t(sizeof(float)));
  return std::min(std::clamp<int64_t>(fit / 12 * 12, 24, 192), pieces_of(tiles, 12) * 12);
}

} // namespace

WinogradKernels::WinogradKernels(const float* weights, int32_t out_channels, int32_t in_channels,
                                 bool is_back, const Kernels& kernels, int threads)
    : kernels_(kernels), rows_(is_back ? out_channels : in_channels),
      columns_(is_back ? in_channels : out_channels) {
  const int64_t width = kernels.winograd_panel;
  data_.resize(size_t(panels() * kNumbers * rows_ * width));
  const int64_t of_row = is_back ? int64_t(in_channels) * 9 : 9;
  const int64_t of_column = is_back ? 9 : int64_t(in_channels) * 9;
  // Rows processed together, so that reads of each kernel are contiguous.
  constexpr int64_t kTogether = 8;
  const int64_t groups = pieces_of(rows_, kTogether);
  share_work(panels() * groups, kTogether * width * kNumbers * 4, threads, [&](int64_t item) {
    const int64_t panel = item / groups, first = item % groups * kTogether;
    std::vector<float> taps(size_t(9 * width));
    for (int64_t row = first; row < std::min<int64_t>(first + kTogether, rows_); ++row) {
      for (int64_t column = 0; column < width; ++column) {
        const int64_t of = panel * width + column;
        const float* kernel = weights + row * of_row + of * of_column;
        for (int tap = 0; tap < 9; ++tap)
          taps[size_t(tap * width + column)] = of < columns_ ? kernel[is_back ? 8 - tap : tap] : 0.0f;
      }
      kernels.winograd_spread_kernels(taps.data(), &data_[size_t((panel * kNumbers * rows_ + row) * width)],
                                      rows_ * width);
    }
  });
}

int64_t WinogradKernels::panels() const {
  return pieces_of(columns_, kernels_.winograd_panel);
}

const float* WinogradKernels::panel(int64_t panel, int number) const {
  return data_.data() + (panel * kNumbers + number) * rows_ * kernels_.winograd_panel;
}

void winograd_convolve(const float* x, const WinogradShape& shape, const WinogradKernels& kernels, float* y,
                       int threads) {
  const Kernels& run = kernels.kernels();
  const int64_t rows = kernels.rows(), columns = kernels.columns(), width = run.winograd_panel;
  const int64_t of_row = rows + kGap;
  const int64_t count = shape.tiles(), length = tiles_of_block(of_row + columns, count);
  const int64_t blocks = pieces_of(count, length);
  // If there are few blocks, threads share the panels of each.
  const int64_t slices = std::clamp<int64_t>(pieces_of(2 * threads, blocks), 1, kernels.panels());
  const int64_t of_slice = pieces_of(kernels.panels(), slices);
  const std::vector<float> zeros(size_t(rows), 0.0f);
  share_out(blocks * slices, 1, threads, [&](int64_t item, int64_t) {
    const int64_t first = item / slices * length, here = std::min(length, count - first);
    const int64_t panel = item % slices * of_slice, end = std::min(panel + of_slice, kernels.panels());
    if (panel >= end)
      return;
    const int64_t of_sums = (end - panel) * width + kGap;
    thread_local RawVector<float> room;
    if (int64_t(room.size()) < kNumbers * length * (of_row + of_sums))
      room.resize(size_t(kNumbers * length * (of_row + of_sums)));
    float *spread = room.data(), *sums = spread + kNumbers * length * of_row;
    Tiles from_tile(shape, first);
    for (int64_t tile = 0; tile < here; ++tile, from_tile.next()) {
      const float* pixels[kNumbers];
      from_tile.pixels<kAround, const float>(x, rows, zeros.data(), pixels);
      run.winograd_spread(pixels, int32_t(rows), spread + tile * of_row, length * of_row);
    }
    for (int number = 0; number < kNumbers; ++number)
      for (int64_t p = panel; p < end; ++p)
        run.winograd_multiply(spread + number * length * of_row, of_row, 1, here, kernels.panel(p, number),
                              width, rows, sums + number * length * of_sums + (p - panel) * width, of_sums,
                              false);
    const int64_t from = panel * width, channels = std::min(end * width, columns) - from;
    Tiles to_tile(shape, first);
    for (int64_t tile = 0; tile < here; ++tile, to_tile.next()) {
      float* pixels[kTile * kTile];
      to_tile.pixels<kTile, float>(y, columns, nullptr, pixels);
      for (float*& pixel : pixels)
        pixel = pixel == nullptr ? nullptr : pixel + from;
      run.winograd_collect(sums + tile * of_sums, length * of_sums, int32_t(channels), pixels);
    }
  });
}

void winograd_kernel_gradient(const float* x, const float* dy, const WinogradShape& shape, float* gradient,
                              const Kernels& kernels, int threads) {
  const int64_t in = shape.in_channels, out = shape.out_channels, width = kernels.winograd_panel;
  const int64_t panels = pieces_of(out, width), of_sums = panels * width;
  // Input channels whose sums stay in a thread's cache; fewer if there are many threads. The blocks in which
  // tiles are added up do not depend on this number.
  const int64_t most =
      std::clamp<int64_t>(kBlock / (kNumbers * of_sums * int64_t(sizeof(float))) / 16 * 16, 16, in);
  const int64_t slice = std::min(pieces_of(pieces_of(in, std::max(threads, 1)), 16) * 16, most);
  const int64_t of_row = slice + kGap, of_column = of_sums + kGap;
  const int64_t count = shape.tiles(), length = tiles_of_block(most + kGap + of_column, count);
  const std::vector<float> zeros(size_t(std::max(in, out)), 0.0f);
  share_out(pieces_of(in, slice), 1, threads, [&](int64_t item, int64_t) {
    const int64_t first_channel = item * slice, channels = std::min(slice, in - first_channel);
    thread_local RawVector<float> room;
    const int64_t needed = kNumbers * (length * (of_row + of_column) + slice * of_sums);
    if (int64_t(room.size()) < needed)
      room.resize(size_t(needed));
    float *spread = room.data(), *back = spread + kNumbers * length * of_row,
          *sums = back + kNumbers * length * of_column;
    Tiles of_tile(shape, 0);
    for (int64_t first = 0; first < count; first += length) {
      const int64_t here = std::min(length, count - first);
      for (int64_t tile = 0; tile < here; ++tile, of_tile.next()) {
        const float* pixels[kNumbers];
        of_tile.pixels<kAround, const float>(x, in, zeros.data(), pixels);
        for (const float*& pixel : pixels)
          pixel = pixel == zeros.data() ? pixel : pixel + first_channel;
        kernels.winograd_spread(pixels, int32_t(channels), spread + tile * of_row, length * of_row);
        of_tile.pixels<kTile, const float>(dy, out, zeros.data(), pixels);
        kernels.winograd_spread_sums(pixels, int32_t(out), back + tile * of_column, length * of_column);
      }
      for (int number = 0; number < kNumbers; ++number)
        for (int64_t p = 0; p < panels; ++p)
          kernels.winograd_multiply(spread + number * length * of_row, 1, of_row, channels,
                                    back + number * length * of_column + p * width, of_column, here,
                                    sums + number * slice * of_sums + p * width, of_sums, first > 0);
    }
    std::vector<float> taps(size_t(9 * width));
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < panels; ++p) {
        kernels.winograd_collect_kernels(sums + c * of_sums + p * width, slice * of_sums, taps.data());
        for (int64_t o = p * width; o < std::min((p + 1) * width, out); ++o)
          for (int tap = 0; tap < 9; ++tap)
            gradient[(o * in + first_channel + c) * 9 + tap] = taps[size_t(tap * width + o - p * width)];
      }
  });
}

} // namespace hdlif
