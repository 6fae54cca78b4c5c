// The gradients of a convolution of codes.
#include "low_bit_conv.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "../transpose.h"
#include "gradient_tiles.h"
#include "training_pool.h"

namespace hdlif {
namespace {

// Approximate bytes of maps and events per thread between the two halves of a backward pass.
constexpr int64_t kBetween = 1 << 20;
// Bytes of output gradients that a strip of rows reads, which stay in a core's first-level cache.
constexpr int64_t kStrip = 24 << 10;
// Weights of an output channel that are moved together.
constexpr int64_t kTile = 256;
// The cost of moving a number to another layout, in products.
constexpr int64_t kMoved = 32;
// Input channels whose gradients are summed together.
constexpr int64_t kTogether = 16;

// Input pixels grouped by their place modulo the strides: the kernel taps that read the pixels of a class,
// and each tap's offset back in a map.
struct PixelClass {
  std::vector<int32_t> taps, offsets;
};

// The output gradients of some images, [block][image][y][x][lane], with zeros around each image.
class BackMaps {
public:
  BackMaps(const ConvShape& s, int64_t images) : shape_(s), images_(images) {
    top_ = (s.kernel_y - 1) / s.stride_y;
    left_ = (s.kernel_x - 1) / s.stride_x;
    height_ = top_ + std::max(s.out_height, (s.in_height - 1 + s.pad_y) / s.stride_y + 1);
    width_ = left_ + std::max(s.out_width, (s.in_width - 1 + s.pad_x) / s.stride_x + 1);
    blocks_ = pieces_of(s.out_channels, kGradientBlock);
    if (images * height_ * width_ * kGradientBlock > INT32_MAX)
      throw std::invalid_argument("maps are too large");
    data_.resize(size_t(blocks_ * of_block()));
  }

  static int64_t bytes_of_image(const ConvShape& s) {
    return (int64_t(s.out_height) + s.kernel_y) * (s.out_width + s.kernel_x) *
           pieces_of(s.out_channels, kGradientBlock) * kGradientBlock * int64_t(sizeof(float));
  }

  int64_t blocks() const { return blocks_; }
  const float* block(int64_t which) const { return data_.data() + which * of_block(); }

  // Returns the number of input rows that read as many gradients as fit in a strip.
  int64_t rows_of_strip() const {
    const int64_t rows = kStrip / (int64_t(width_) * kGradientBlock * int64_t(sizeof(float)));
    return std::max<int64_t>(1, (rows - top_) * shape_.stride_y);
  }

  // Copies the gradients of one image, multiplied by scale [co] unless it is null.
  void fill(int64_t image, const float* dy, const float* scale) {
    const ConvShape& s = shape_;
    for (int64_t block = 0; block < blocks_; ++block)
      std::fill_n(&data_[size_t(block * of_block() + image * of_image())], of_image(), 0.0f);
    for (int32_t y = 0; y < s.out_height; ++y)
      for (int32_t x = 0; x < s.out_width; ++x, dy += s.out_channels)
        for (int64_t block = 0; block < blocks_; ++block) {
          const int64_t first = block * kGradientBlock;
          const int64_t count = std::min<int64_t>(kGradientBlock, s.out_channels - first);
          float* to = &data_[size_t(block * of_block() + offset_at(image, top_ + y, left_ + x))];
          if (scale == nullptr)
            std::copy_n(dy + first, count, to);
          else
            for (int64_t lane = 0; lane < count; ++lane)
              to[lane] = dy[first + lane] * scale[first + lane];
        }
  }

  // Returns the offset in a block of the output pixel that reads an input pixel with its first tap.
  uint32_t offset(int64_t image, int32_t iy, int32_t ix) const {
    return uint32_t(offset_at(image, (iy + shape_.pad_y) / shape_.stride_y + top_,
                              (ix + shape_.pad_x) / shape_.stride_x + left_));
  }

  int64_t class_of(int32_t iy, int32_t ix) const {
    const ConvShape& s = shape_;
    return int64_t((iy + s.pad_y) % s.stride_y) * s.stride_x + (ix + s.pad_x) % s.stride_x;
  }

  std::vector<PixelClass> classes() const {
    const ConvShape& s = shape_;
    std::vector<PixelClass> found;
    for (int32_t ry = 0; ry < s.stride_y; ++ry)
      for (int32_t rx = 0; rx < s.stride_x; ++rx) {
        PixelClass one;
        for (int32_t ky = ry; ky < s.kernel_y; ky += s.stride_y)
          for (int32_t kx = rx; kx < s.kernel_x; kx += s.stride_x) {
            one.taps.push_back(ky * s.kernel_x + kx);
            one.offsets.push_back(-((ky / s.stride_y) * width_ + kx / s.stride_x) * kGradientBlock);
          }
        found.push_back(std::move(one));
      }
    return found;
  }

private:
  int64_t of_image() const { return int64_t(height_) * width_ * kGradientBlock; }
  int64_t of_block() const { return images_ * of_image(); }
  int64_t offset_at(int64_t image, int32_t y, int32_t x) const {
    return image * of_image() + (int64_t(y) * width_ + x) * kGradientBlock;
  }

  const ConvShape& shape_;
  int64_t images_, blocks_;
  int32_t top_, left_, height_, width_;
  RawVector<float> data_;
};

// The events of a strip of rows: a list for each class of pixels and input channel, with room for all pixels
// of the class.
template <typename Event> class Lists {
public:
  // Calls `list` for each pixel of rows [first, last), counted over all images; events begin at `codes`.
  template <typename List>
  void gather(const uint8_t* codes, int64_t first, int64_t last, const ConvShape& s, const BackMaps& maps,
              List list) {
    const int64_t channels = s.in_channels, count = int64_t(s.stride_y) * s.stride_x * channels;
    room_ = pieces_of(s.in_width, s.stride_x) * (last - first); // rows of several images can be of any class
    if (int64_t(events_.size()) < count * room_)
      events_.resize(size_t(count * room_));
    ends_.clear();
    for (int64_t i = 0; i < count; ++i)
      ends_.push_back(events_.data() + i * room_);
    for (int64_t row = first; row < last; ++row) {
      const int64_t image = row / s.in_height;
      const auto iy = int32_t(row % s.in_height);
      for (int32_t ix = 0; ix < s.in_width; ++ix) {
        const int64_t place = row * s.in_width + ix;
        list(codes + place * channels, maps.offset(image, iy, ix), place,
             &ends_[size_t(maps.class_of(iy, ix) * channels)]);
      }
    }
  }

  const Event* begin(int64_t list) const { return events_.data() + list * room_; }
  const Event* end(int64_t list) const { return ends_[size_t(list)]; }

private:
  RawVector<Event> events_;
  std::vector<Event*> ends_;
  int64_t room_ = 0;
};

bool is_uniform(const float* values, int64_t count) {
  return std::all_of(values, values + count, [&](float value) { return value == values[0]; });
}

} // namespace

void LowBitConv::backward(const float* dy, int64_t images, const ToWeights* to_weights,
                          const ToInput* to_input, int threads) const {
  const ConvShape& s = shape_;
  const int64_t in = s.in_channels, out = s.out_channels, taps = int64_t(s.kernel_y) * s.kernel_x;
  const int64_t in_map = int64_t(s.in_height) * s.in_width * in,
                out_map = int64_t(s.out_height) * s.out_width * out;
  const int64_t group =
      std::clamp<int64_t>(threads * kBetween / (BackMaps::bytes_of_image(s) + 4 * in_map), 1, images);
  // Scales that differ are multiplied into the output gradients; a common scale, into the result.
  const bool is_scaled = to_input != nullptr && !is_uniform(to_input->scale, out);
  BackMaps maps(s, group);
  BackMaps scaled(s, is_scaled ? group : 0);
  const BackMaps& of_input = is_scaled ? scaled : maps;
  const float factor = to_input == nullptr || is_scaled ? 1.0f : to_input->scale[0];
  const int64_t blocks = maps.blocks();
  const std::vector<PixelClass> classes = maps.classes();

  // Both [ci][block][class][tap of the class][lane].
  const auto place = [&](int64_t ci, int64_t block, int64_t tap) {
    return size_t(((ci * blocks + block) * taps + tap) * kGradientBlock);
  };
  std::vector<int32_t> order; // taps in the order of the classes
  for (const PixelClass& one : classes)
    order.insert(order.end(), one.taps.begin(), one.taps.end());
  const auto lanes_of = [&](int64_t block) {
    return std::min<int64_t>(kGradientBlock, out - block * kGradientBlock);
  };
  RawVector<float> sums;
  sums.resize(to_weights == nullptr ? 0 : place(in, 0, 0));
  RawVector<int8_t> weights;
  weights.resize(to_input == nullptr ? 0 : place(in, 0, 0));
  const int64_t tile = std::max<int64_t>(1, kTile / taps);
  if (to_input != nullptr)
    share_work(blocks, kMoved * in * taps * kGradientBlock, threads, [&](int64_t block) {
      if (lanes_of(block) < kGradientBlock)
        for (int64_t ci = 0; ci < in; ++ci)
          std::fill_n(&weights[place(ci, block, 0)], taps * kGradientBlock, int8_t(0));
      std::vector<uint8_t> together(size_t(tile * taps * kGradientBlock));
      for (int64_t start = 0; start < in; start += tile) {
        const int64_t end = std::min(start + tile, in);
        transpose(&signs_[size_t((block * kGradientBlock * in + start) * taps)], in * taps, lanes_of(block),
                  (end - start) * taps, 0, together.data(), kGradientBlock);
        for (int64_t ci = start; ci < end; ++ci)
          for (int64_t tap = 0; tap < taps; ++tap)
            std::copy_n(&together[size_t(((ci - start) * taps + order[size_t(tap)]) * kGradientBlock)],
                        lanes_of(block), &weights[place(ci, block, tap)]);
      }
    });

  const int64_t height = std::min(maps.rows_of_strip(), group * s.in_height);
  const int64_t strips = pieces_of(group * s.in_height, height);
  std::vector<Lists<FloatEvent>> codes(to_weights == nullptr ? 0 : size_t(strips));
  std::vector<Lists<CodeEvent>> places(to_input == nullptr ? 0 : size_t(strips));
  for (int64_t first = 0; first < images; first += group) {
    const int64_t count = std::min(group, images - first), rows = count * s.in_height;
    const int64_t filled = pieces_of(rows, height);
    share_work(count, 16 * out_map, threads, [&](int64_t image) {
      maps.fill(image, dy + (first + image) * out_map, nullptr);
      if (is_scaled)
        scaled.fill(image, dy + (first + image) * out_map, to_input->scale);
    });
    share_work(filled, 32 * height * s.in_width * in, threads, [&](int64_t strip) {
      const int64_t top = strip * height, bottom = std::min(top + height, rows);
      if (to_weights != nullptr)
        codes[size_t(strip)].gather(to_weights->codes + first * in_map, top, bottom, s, maps,
                                    [&](const uint8_t* pixel, uint32_t offset, int64_t, FloatEvent** ends) {
                                      kernels_.list_codes(pixel, s.in_channels, offset, ends);
                                    });
      if (to_input == nullptr)
        return;
      places[size_t(strip)].gather(
          to_input->live + first * in_map, top, bottom, s, maps,
          [&](const uint8_t* pixel, uint32_t offset, int64_t pixel_place, CodeEvent** ends) {
            kernels_.list_places(pixel, s.in_channels, offset, int32_t(pixel_place), ends);
          });
      const int64_t row = int64_t(s.in_width) * in;
      std::fill_n(to_input->gradient + first * in_map + top * row, (bottom - top) * row, 0.0f);
    });
    // Neighbouring channels, so no two threads write the same cache line of the input gradient.
    share_work(pieces_of(in, kTogether), count * kTogether * out_map, threads, [&](int64_t part) {
      const int64_t begin = part * kTogether, end = std::min(in, begin + kTogether);
      if (to_weights != nullptr && first == 0)
        std::fill(sums.begin() + int64_t(place(begin, 0, 0)), sums.begin() + int64_t(place(end, 0, 0)), 0.0f);
      RawVector<float> lanes, found;
      const auto each = [&](auto body) {
        for (int64_t ci = begin; ci < end; ++ci)
          for (int64_t c = 0, tap = 0; c < int64_t(classes.size());
               tap += int64_t(classes[size_t(c)].taps.size()), ++c)
            body(ci, c * in + ci, tap, classes[size_t(c)]);
      };
      for (int64_t strip = 0; strip < filled; ++strip) {
        if (to_weights != nullptr) {
          const Lists<FloatEvent>& lists = codes[size_t(strip)];
          for (int64_t block = 0; block < blocks; ++block)
            each([&](int64_t ci, int64_t list, int64_t tap, const PixelClass& one) {
              kernels_.weight_gradient(lists.begin(list), lists.end(list), maps.block(block),
                                       one.offsets.data(), int32_t(one.taps.size()),
                                       &sums[place(ci, block, tap)]);
            });
        }
        if (to_input == nullptr)
          continue;
        const Lists<CodeEvent>& lists = places[size_t(strip)];
        int64_t events = 0;
        each([&](int64_t, int64_t list, int64_t, const PixelClass&) {
          events += lists.end(list) - lists.begin(list);
        });
        if (int64_t(found.size()) < events) {
          lanes.resize(size_t(events * kGradientBlock));
          found.resize(size_t(events));
        }
        for (int64_t block = 0; block < blocks; ++block) {
          int64_t at = 0;
          each([&](int64_t ci, int64_t list, int64_t tap, const PixelClass& one) {
            const int64_t count = lists.end(list) - lists.begin(list);
            if (one.taps.empty()) // no tap reads such a pixel
              std::fill_n(found.begin() + at, count, 0.0f);
            else if (count > 0)
              kernels_.input_gradient(
                  lists.begin(list), lists.end(list), of_input.block(block), one.offsets.data(),
                  int32_t(one.taps.size()), &weights[place(ci, block, tap)], block == 0,
                  &lanes[size_t(at * kGradientBlock)], block + 1 == blocks ? &found[size_t(at)] : nullptr);
            at += count;
          });
        }
        const float* from = found.data();
        each([&](int64_t ci, int64_t list, int64_t, const PixelClass&) {
          float* gradient = to_input->gradient + first * in_map + ci;
          for (const CodeEvent* event = lists.begin(list); event < lists.end(list); ++event)
            gradient[int64_t(event->code) * in] = *from++ * factor;
        });
      }
    });
  }
  if (to_weights == nullptr)
    return;
  share_work(blocks, kMoved * in * taps * kGradientBlock, threads, [&](int64_t block) {
    std::vector<const float*> rows(size_t(tile * taps));
    for (int64_t start = 0; start < in; start += tile) {
      const int64_t end = std::min(start + tile, in);
      for (int64_t ci = start; ci < end; ++ci)
        for (int64_t tap = 0; tap < taps; ++tap)
          rows[size_t((ci - start) * taps + order[size_t(tap)])] = &sums[place(ci, block, tap)];
      transpose(rows.data(), (end - start) * taps, lanes_of(block), to_weights->step,
                to_weights->gradient + (block * kGradientBlock * in + start) * taps, in * taps);
    }
  });
}

bool LowBitConv::multiplies_bfloat16() const {
  return kernels_.bfloat16 != nullptr && fills_bfloat_tiles(shape_);
}

void LowBitConv::backward_in_bfloat16(const float* dy, int64_t images, const ToWeights* to_weights,
                                      const ToInput* to_input, int threads) const {
  const ConvShape& s = shape_;
  if (!multiplies_bfloat16())
    throw std::invalid_argument("this machine has no tiles for bfloat16 products");
  if (images * std::max(int64_t(s.in_height) * s.in_width, int64_t(s.out_height) * s.out_width) > INT32_MAX)
    throw std::invalid_argument("maps are too large");
  if (to_weights != nullptr)
    weight_gradient_in_bfloat16(s, *kernels_.bfloat16, dy, images, to_weights->codes, to_weights->step,
                                to_weights->gradient, threads);
  if (to_input != nullptr)
    input_gradient_in_bfloat16(s, *kernels_.bfloat16, dy, images, signs_.data(), to_input->scale,
                               to_input->live, to_input->gradient, threads);
}

} // namespace hdlif
