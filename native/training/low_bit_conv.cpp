#include "low_bit_conv.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "../kernels/processor.h"
#include "../scratch.h"
#include "../transpose.h"
#include "batch_norm.h"
#include "spike_codes.h"
#include "training_pool.h"

namespace hdlif {
namespace {

// Weights of an output channel that are moved together.
constexpr int64_t kTile = 256;
// The cost of moving a weight to another layout, in products.
constexpr int64_t kMoved = 32;
// Output channels whose weights are packed together.
constexpr int64_t kLanes = 64;

void require(bool holds, const char* message) {
  if (!holds)
    throw std::invalid_argument(message);
}

// Converts [co][ci][tap] to [tap][ci][lane].
LineVector<int8_t> by_taps(const int8_t* weights, int64_t out, int64_t in, int64_t taps, int64_t lanes) {
  LineVector<int8_t> found(size_t(taps * in * lanes), 0);
  for (int64_t co = 0; co < out; ++co)
    for (int64_t ci = 0; ci < in; ++ci)
      for (int64_t tap = 0; tap < taps; ++tap)
        found[size_t((tap * in + ci) * lanes + co)] = weights[(co * in + ci) * taps + tap];
  return found;
}

bool has_vnni() {
#if defined(__x86_64__) || defined(_M_X64)
  static const bool found = processor().vnni;
  return found;
#else
  return false;
#endif
}

// Returns the fraction of non-zero codes above which computing all products is faster than looking up events.
// With more output channels, the fixed cost of an event is shared by more of them.
float share_of_events(const ConvShape& s, const Kernels& kernels) {
  if (kernels.sum_tiles != nullptr && tile_form(s).depth > 0)
    return 0;
  const bool is_vnni = kernels.dense_codes_vnni != nullptr && has_vnni();
  if (s.out_channels <= 64)
    return is_vnni ? 0.09f : 0.25f;
  if (s.out_channels <= 128)
    return is_vnni ? 0.19f : 0.4f;
  return is_vnni && s.out_channels <= 256 ? 0.29f : 1.0f;
}

} // namespace

LowBitConv::LowBitConv(const ConvShape& shape, const float* weights, float* scale, const Kernels& kernels,
                       int threads, float most_events)
    : shape_(shape), kernels_(kernels),
      most_events_(most_events < 0 ? share_of_events(shape, kernels) : most_events) {
  const ConvShape& s = shape_;
  require(s.groups == 1 && s.dilation_y == 1 && s.dilation_x == 1, "groups and dilations must be 1");
  require(s.in_height >= 1 && s.in_width >= 1 && s.out_height >= 1 && s.out_width >= 1,
          "maps must not be empty");
  require(s.in_channels >= 1 && s.out_channels >= 1 && s.kernel_y >= 1 && s.kernel_x >= 1,
          "channels and kernels must be at least 1");
  require(s.stride_y >= 1 && s.stride_x >= 1 && s.pad_y >= 0 && s.pad_x >= 0,
          "strides must be at least 1, and padding at least 0");
  require(s.pad_y < s.kernel_y && s.pad_x < s.kernel_x, "padding must be smaller than the kernel");
  require(s.out_height == (s.in_height + 2 * s.pad_y - s.kernel_y) / s.stride_y + 1 &&
              s.out_width == (s.in_width + 2 * s.pad_x - s.kernel_x) / s.stride_x + 1,
          "the output size does not match the convolution");
  require(s.max_code >= 1 && s.max_code <= 255 && s.max_weight == 1,
          "max_code must be in 1..255, and max_weight 1");
  const int64_t taps = int64_t(s.kernel_y) * s.kernel_x;
  require(taps * s.in_channels * s.max_code * s.max_weight <= 1 << 24, "sums may exceed 2^24");
  const int64_t in = s.in_channels, out = s.out_channels;
  signs_.resize(size_t(out * in * taps + 3));
  std::fill(signs_.end() - 3, signs_.end(), int8_t(0));
  share_work(out, kMoved / 8 * in * taps, threads, [&](int64_t co) {
    scale[co] = kernels.write_signs(weights + co * in * taps, &signs_[size_t(co * in * taps)], in * taps);
  });
  if (kernels.sum_tiles != nullptr && most_events_ < 1)
    lay_tiles(threads);
  if (sums_all_on_tiles())
    return;
  if (tiles_.depth == 0)
    pack_quads(threads);
  if (kernels.unit_row != nullptr)
    form_ = lookup_form(shape);
  if (form_.per_unit == 0) {
    weights_ = by_taps(signs_.data(), out, in, taps, s.lanes());
    return;
  }
  table_ = lookup_table(shape, form_);
  index_.resize(size_t(index_bytes(shape, form_)));
  if (form_.lanes != out)
    std::fill(index_.begin(), index_.end(), index_of_zeros(shape, form_));
  const int32_t symbols = 2 * s.max_weight + 1;
  // Lanes and units that stay in the cache. Their weights are moved together, and then combined in complete
  // vectors.
  const int64_t tile = std::max<int64_t>(1, kTile / (taps * form_.per_unit));
  share_work(pieces_of(out, kLanes), kMoved * kLanes * in * taps, threads, [&](int64_t block) {
    const int64_t first = block * kLanes, count = std::min<int64_t>(kLanes, out - first);
    const int64_t lanes = std::min<int64_t>(kLanes, form_.lanes - first);
    LineVector<uint8_t> together(size_t(tile * form_.per_unit * taps * kLanes), uint8_t(s.max_weight));
    for (int64_t start = 0; start < form_.units; start += tile) {
      const int64_t stop = std::min<int64_t>(start + tile, form_.units);
      const int64_t size = (stop - start) * form_.per_unit * taps;
      const int8_t* from = signs_.data() + first * in * taps + start * form_.per_unit * taps;
      transpose(from, in * taps, count, size, int8_t(s.max_weight), together.data(), kLanes);
      for (int64_t unit = start; unit < stop; ++unit)
        for (int64_t tap = 0; tap < taps; ++tap) {
          uint8_t* to = &index_[size_t((tap * form_.units + unit) * form_.lanes + first)];
          const uint8_t* one = &together[size_t(((unit - start) * form_.per_unit * taps + tap) * kLanes)];
          const uint8_t* next = one + taps * kLanes;
          if (form_.per_unit == 2)
            for (int64_t lane = 0; lane < lanes; ++lane)
              to[lane] = uint8_t(one[lane] + symbols * next[lane]);
          else
            std::copy_n(one, lanes, to);
        }
    }
  });
}

// Packs the weights for kernels that skip nothing, if such kernels exist and may be used.
void LowBitConv::pack_quads(int threads) {
  const ConvShape& s = shape_;
  if (most_events_ >= 1 || kernels_.dense_codes == nullptr)
    return;
  const int64_t taps = int64_t(s.kernel_y) * s.kernel_x, quads = pieces_of(s.in_channels, 4);
  if (kernels_.dense_codes_vnni != nullptr && has_vnni())
    dense_ = kernels_.dense_codes_vnni;
  else if (taps * quads * 2 * s.max_code * s.max_weight <= 32767)
    dense_ = kernels_.dense_codes;
  if (dense_ == nullptr)
    return;
  quads_ = int32_t(quads);
  const int64_t lanes = kernels_.dense_code_lanes, blocks = pieces_of(s.out_channels, lanes);
  of_quads_.resize(size_t(blocks * taps * quads * lanes * 4));
  if (blocks * lanes != s.out_channels || quads * 4 != s.in_channels)
    std::fill(of_quads_.begin(), of_quads_.end(), int8_t(0));
  share_work(s.out_channels, kMoved * taps * s.in_channels, threads, [&](int64_t co) {
    int8_t* const to = &of_quads_[size_t((co / lanes * taps * quads * lanes + co % lanes) * 4)];
    const int8_t* const from = &signs_[size_t(co * s.in_channels * taps)];
    for (int64_t ci = 0; ci < s.in_channels; ++ci)
      for (int64_t tap = 0; tap < taps; ++tap)
        to[(tap * quads + ci / 4) * lanes * 4 + ci % 4] = from[ci * taps + tap];
  });
}

void LowBitConv::lay_tiles(int threads) {
  const ConvShape& s = shape_;
  tiles_ = tile_form(s);
  if (tiles_.depth == 0)
    return;
  tiles_.is_packed = false;
  of_tiles_.resize(size_t(tiles_.blocks * tiles_.block_bytes()));
  const int64_t taps = int64_t(s.kernel_y) * s.kernel_x;
  const TileOrder order{taps * s.in_channels, taps, 1};
  share_work(pieces_of(s.out_channels, kTileLanes), kMoved * kTileLanes * taps * s.in_channels, threads,
             [&](int64_t piece) {
               const auto first = int32_t(piece) * kTileLanes;
               const int32_t last = std::min(first + kTileLanes, s.out_channels);
               hdlif::lay_tiles(s, tiles_, signs_.data(), order, first, last, of_tiles_.data());
             });
}

bool LowBitConv::is_dense(const uint8_t* codes, int64_t count) const {
  if (sums_all_on_tiles())
    return true;
  const bool may_be = tiles_.depth > 0 || dense_ != nullptr;
  return may_be && double(count_events(codes, count, 1)) > double(most_events_) * double(count);
}

// Calls write(row, sums) for rows [first, last), counted over the images.
template <typename Write>
void LowBitConv::sum_on_tiles(const uint8_t* codes, int64_t first, int64_t last, const Write& write) const {
  TileGroup group(shape_, tiles_, 1);
  Scratch scratch(Scratch::bytes<uint8_t>(group.bytes()));
  auto* const memory = scratch.take<uint8_t>(group.bytes());
  const int64_t out_row = int64_t(shape_.out_width) * shape_.out_channels;
  float* const sums = group.sums(memory);
  for (int64_t row = first; row < last;) {
    const int64_t end = std::min(last, row + group.most_rows());
    group.gather(codes, 0, row, end, 0, out_row, memory);
    for (int32_t block = 0; block < tiles_.blocks; ++block)
      group.sum(kernels_.sum_tiles, reinterpret_cast<const uint8_t*>(of_tiles_.data()), block, sums);
    for (int64_t begin = row; row < end; ++row)
      write(row, sums + (row - begin) * out_row);
  }
}

// An image is one piece, or several if there are few images.
int64_t LowBitConv::strips(int64_t images, int threads) const {
  return std::clamp<int64_t>(images >= 4 * int64_t(threads) ? 1 : pieces_of(4 * threads, images), 1,
                             shape_.out_height);
}

template <typename Write>
void LowBitConv::each_row(const uint8_t* codes, int64_t images, int threads, Write write) const {
  const ConvShape& s = shape_;
  const bool has_units = form_.per_unit > 0;
  const int64_t in_row = int64_t(s.in_width) * s.in_channels, out_row = int64_t(s.out_width) * s.out_channels;
  const int64_t events_per_row = has_units ? s.in_width * int64_t(form_.units) : in_row;
  const int64_t strips = this->strips(images, threads);
  const int64_t height = pieces_of(s.out_height, strips);
  const int64_t products = height * out_row * s.kernel_y * s.kernel_x * s.in_channels / 16;

  const auto strip = [&](int64_t which) {
    const int64_t image = which / strips;
    const int32_t top = int32_t(which % strips * height),
                  bottom = int32_t(std::min<int64_t>(top + height, s.out_height));
    if (top >= bottom)
      return;
    const int32_t first = std::max(top * s.stride_y - s.pad_y, 0);
    const int32_t last = std::min((bottom - 1) * s.stride_y - s.pad_y + s.kernel_y, s.in_height);
    const int64_t rows = std::max(last - first, 0);
    const uint8_t* const seen = codes + (image * s.in_height + first) * in_row;
    if (is_dense(seen, rows * in_row)) {
      if (tiles_.depth > 0)
        return sum_on_tiles(codes, image * s.out_height + top, image * s.out_height + bottom,
                            [&](int64_t row, const float* sums) {
                              write(which, image, int32_t(row - image * s.out_height), sums);
                            });
      const int64_t pixel = int64_t(quads_) * 4, padded = (s.in_width + 2 * s.pad_x) * pixel;
      Scratch scratch(Scratch::bytes<uint8_t>(rows * padded) + Scratch::bytes<const uint8_t*>(s.kernel_y) +
                      Scratch::bytes<float>(out_row));
      auto* const copied = scratch.take<uint8_t>(rows * padded);
      auto* const under = scratch.take<const uint8_t*>(s.kernel_y);
      auto* const sums = scratch.take<float>(out_row);
      std::fill(copied, copied + rows * padded, uint8_t(0));
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t ix = 0; ix < s.in_width; ++ix)
          std::copy(seen + row * in_row + ix * s.in_channels, seen + row * in_row + (ix + 1) * s.in_channels,
                    copied + row * padded + (ix + s.pad_x) * pixel);
      for (int32_t oy = top; oy < bottom; ++oy) {
        for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
          const int32_t iy = oy * s.stride_y - s.pad_y + ky;
          under[ky] = iy >= first && iy < last ? copied + (iy - first) * padded : nullptr;
        }
        dense_(under, of_quads_.data(), quads_, sums, s);
        write(which, image, oy, sums);
      }
      return;
    }
    static_assert(sizeof(UnitEvent) == sizeof(CodeEvent));
    const int64_t lanes = has_units ? int64_t(s.out_width) * form_.lanes : 0;
    Scratch scratch(Scratch::bytes<UnitEvent>(rows * events_per_row + 8) +
                    Scratch::bytes<int32_t>(rows * (s.in_width + 1)) + Scratch::bytes<int32_t>(lanes) +
                    Scratch::bytes<float>(out_row + 16) + Scratch::bytes<EventRow<UnitEvent>>(s.kernel_y) +
                    Scratch::bytes<EventRow<CodeEvent>>(s.kernel_y));
    auto* const events = scratch.take<UnitEvent>(rows * events_per_row + 8);
    auto* const as_codes = reinterpret_cast<CodeEvent*>(events);
    auto* const starts = scratch.take<int32_t>(rows * (s.in_width + 1));
    auto* const totals = scratch.take<int32_t>(lanes);
    auto* const sums = scratch.take<float>(out_row + 16);
    auto* const of_units = scratch.take<EventRow<UnitEvent>>(s.kernel_y);
    auto* const of_codes = scratch.take<EventRow<CodeEvent>>(s.kernel_y);
    for (int32_t iy = first; iy < last; ++iy) {
      const uint8_t* row = codes + (image * s.in_height + iy) * in_row;
      const int64_t place = iy - first;
      int32_t* const row_starts = starts + place * (s.in_width + 1);
      if (has_units)
        kernels_.gather_units(row, nullptr, s.in_width, s, form_, events + place * events_per_row,
                              row_starts);
      else
        kernels_.gather_codes(row, s.in_width, s.in_channels, s.lanes(), as_codes + place * events_per_row,
                              row_starts);
    }
    for (int32_t oy = top; oy < bottom; ++oy) {
      for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
        const int32_t iy = oy * s.stride_y - s.pad_y + ky;
        of_units[ky] = {};
        of_codes[ky] = {};
        if (iy < first || iy >= last)
          continue;
        const int32_t* row_starts = starts + (iy - first) * (s.in_width + 1);
        of_units[ky] = {events + (iy - first) * events_per_row, row_starts};
        of_codes[ky] = {as_codes + (iy - first) * events_per_row, row_starts};
      }
      if (has_units)
        kernels_.unit_row(of_units, index_.data(), table_.data(), form_, false, totals, sums, s);
      else
        kernels_.code_row(of_codes, weights_.data(), sums, s);
      write(which, image, oy, sums);
    }
  };
  share_work(images * strips, products, threads, strip);
}

void LowBitConv::forward(const uint8_t* codes, int64_t images, const float* scale, float* y,
                         const ToMoments* moments, int threads) const {
  const ConvShape& s = shape_;
  const int64_t out_row = int64_t(s.out_width) * s.out_channels, channels = s.out_channels;
  const int64_t strips = this->strips(images, threads);
  const LineVector<float> none(size_t(channels), -0.0f); // x + -0 is x
  std::vector<double> of_pieces(moments == nullptr ? 0 : size_t(images * strips * 2 * channels));
  each_row(codes, images, threads, [&](int64_t piece, int64_t image, int32_t oy, const float* sums) {
    float* const to = y + (image * s.out_height + oy) * out_row;
    if (scale == nullptr)
      std::copy(sums, sums + out_row, to);
    else
      kernels_.affine(sums, to, scale, none.data(), s.out_width, s.out_channels);
    if (moments != nullptr) {
      double* const of_piece = &of_pieces[size_t(piece * 2 * channels)];
      kernels_.add_moments(sums, s.out_width, s.out_channels, of_piece, of_piece + channels);
    }
  });
  if (moments != nullptr)
    add_up_moments(of_pieces.data(), images * strips, moments->group * strips, channels, moments->totals,
                   moments->squares);
}

bool LowBitConv::sums_squares(int64_t group) const {
  const ConvShape& s = shape_;
  const double most = double(s.kernel_y) * s.kernel_x * s.in_channels * s.max_code * s.max_weight;
  return most * most * double(group) * s.out_height * s.out_width <= 0x1p53;
}

} // namespace hdlif
