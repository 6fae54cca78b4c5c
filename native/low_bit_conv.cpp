#include "low_bit_conv.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "scratch.h"
#include "training_pool.h"

namespace hdlif {
namespace {

// What a thread takes at least, in products: some ten microseconds.
constexpr int64_t kGrain = 1 << 20;
// Bytes of maps and events that lie between the two halves of a backward pass, about.
constexpr int64_t kBetween = 1 << 21;
// Bytes of what comes back that a strip of rows reads, which stay in a core's first cache.
constexpr int64_t kStrip = 24 << 10;
// Weights of an output channel that are moved at once.
constexpr int64_t kTile = 256;
// Output channels whose weights are packed together, and input channels whose gradients are summed together.
constexpr int64_t kLanes = 16, kTogether = 16;

void require(bool holds, const char* message) {
  if (!holds)
    throw std::invalid_argument(message);
}

int64_t over(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

// Calls body(i) for i in [0, count), each of so many products.
template <typename Body> void share(int64_t count, int64_t products, int threads, Body body) {
  const int64_t length = over(kGrain, std::max<int64_t>(1, products));
  share_out(count, length, threads, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i)
      body(i);
  });
}

// [co][ci][tap] to [tap][ci][lane].
LineVector<int8_t> by_taps(const int8_t* weights, int64_t out, int64_t in, int64_t taps, int64_t lanes) {
  LineVector<int8_t> found(size_t(taps * in * lanes), 0);
  for (int64_t co = 0; co < out; ++co)
    for (int64_t ci = 0; ci < in; ++ci)
      for (int64_t tap = 0; tap < taps; ++tap)
        found[size_t((tap * in + ci) * lanes + co)] = weights[(co * in + ci) * taps + tap];
  return found;
}

} // namespace

LowBitConv::LowBitConv(const ConvShape& shape, const float* weights, float* scale, const Kernels& kernels,
                       int threads)
    : shape_(shape), kernels_(kernels) {
  const ConvShape& s = shape_;
  require(s.groups == 1 && s.dilation_y == 1 && s.dilation_x == 1, "groups and dilations are 1");
  require(s.in_height >= 1 && s.in_width >= 1 && s.out_height >= 1 && s.out_width >= 1, "maps are not empty");
  require(s.in_channels >= 1 && s.out_channels >= 1 && s.kernel_y >= 1 && s.kernel_x >= 1,
          "channels and kernels: at least 1");
  require(s.stride_y >= 1 && s.stride_x >= 1 && s.pad_y >= 0 && s.pad_x >= 0,
          "strides: at least 1; padding: at least 0");
  require(s.out_height == (s.in_height + 2 * s.pad_y - s.kernel_y) / s.stride_y + 1 &&
              s.out_width == (s.in_width + 2 * s.pad_x - s.kernel_x) / s.stride_x + 1,
          "the output has another size");
  require(s.max_code >= 1 && s.max_code <= 255 && s.max_weight == 1, "codes: up to 255; weights: up to 1");
  const int64_t taps = int64_t(s.kernel_y) * s.kernel_x;
  require(taps * s.in_channels * s.max_code * s.max_weight <= 1 << 24, "sums may pass 2^24");
  const int64_t in = s.in_channels, out = s.out_channels;
  signs_.resize(size_t(out * in * taps));
  share(out, in * taps, threads, [&](int64_t co) {
    scale[co] = kernels.write_signs(weights + co * in * taps, &signs_[size_t(co * in * taps)], in * taps);
  });
  if (kernels.unit_row != nullptr)
    form_ = lookup_form(shape);
  if (form_.per_unit == 0) {
    weights_ = by_taps(signs_.data(), out, in, taps, s.lanes());
    return;
  }
  table_ = lookup_table(shape, form_);
  index_.assign(size_t(index_bytes(shape, form_)), index_of_zeros(shape, form_));
  const int32_t symbols = 2 * s.max_weight + 1;
  // Lanes and units that stay in the cache: their weights, moved together, are then combined in whole
  // vectors.
  const int64_t tile = std::max<int64_t>(1, kTile / (taps * form_.per_unit));
  share(over(out, kLanes), kLanes * in * taps, threads, [&](int64_t block) {
    const int64_t first = block * kLanes, count = std::min<int64_t>(kLanes, out - first);
    LineVector<uint8_t> together(size_t(tile * form_.per_unit * taps * kLanes), uint8_t(s.max_weight));
    for (int64_t start = 0; start < form_.units; start += tile) {
      const int64_t stop = std::min<int64_t>(start + tile, form_.units);
      for (int64_t lane = 0; lane < count; ++lane) {
        const int8_t* from = signs_.data() + (first + lane) * in * taps + start * form_.per_unit * taps;
        for (int64_t i = 0; i < (stop - start) * form_.per_unit * taps; ++i)
          together[size_t(i * kLanes + lane)] = uint8_t(from[i] + s.max_weight);
      }
      for (int64_t unit = start; unit < stop; ++unit)
        for (int64_t tap = 0; tap < taps; ++tap) {
          uint8_t* to = &index_[size_t((tap * form_.units + unit) * form_.lanes + first)];
          const uint8_t* one = &together[size_t(((unit - start) * form_.per_unit * taps + tap) * kLanes)];
          const uint8_t* next = one + taps * kLanes;
          if (form_.per_unit == 2)
            for (int64_t lane = 0; lane < kLanes; ++lane)
              to[lane] = uint8_t(one[lane] + symbols * next[lane]);
          else
            for (int64_t lane = 0; lane < kLanes; ++lane)
              to[lane] = one[lane];
        }
    }
  });
}

void LowBitConv::forward(const uint8_t* codes, int64_t images, const float* scale, float* y,
                         int threads) const {
  const ConvShape& s = shape_;
  const bool has_units = form_.per_unit > 0;
  const int64_t in_row = int64_t(s.in_width) * s.in_channels, out_row = int64_t(s.out_width) * s.out_channels;
  const int64_t events_per_row = has_units ? s.in_width * int64_t(form_.units) : in_row;
  // An image is one piece, or several where images are few.
  const int64_t strips =
      std::clamp<int64_t>(images >= 4 * int64_t(threads) ? 1 : over(4 * threads, images), 1, s.out_height);
  const int64_t height = over(s.out_height, strips);
  const LineVector<float> none(size_t(s.out_channels), -0.0f); // x + -0 is x
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
      kernels_.affine(sums, y + (image * s.out_height + oy) * out_row, scale, none.data(), s.out_width,
                      s.out_channels);
    }
  };
  share(images * strips, products, threads, strip);
}

namespace {

// Input pixels by their place modulo the strides: which taps of the kernel carry those of a class somewhere,
// and how far back in a map each does.
struct PixelClass {
  std::vector<int32_t> taps, offsets;
};

// What comes back to some images, [block][image][y][x][lane], with zeros around each image.
class BackMaps {
public:
  BackMaps(const ConvShape& s, int64_t images) : shape_(s), images_(images) {
    top_ = (s.kernel_y - 1) / s.stride_y;
    left_ = (s.kernel_x - 1) / s.stride_x;
    height_ = top_ + std::max(s.out_height, (s.in_height - 1 + s.pad_y) / s.stride_y + 1);
    width_ = left_ + std::max(s.out_width, (s.in_width - 1 + s.pad_x) / s.stride_x + 1);
    blocks_ = over(s.out_channels, kGradientBlock);
    require(images * height_ * width_ * kGradientBlock <= INT32_MAX, "maps are too large");
    data_.resize(size_t(blocks_ * of_block()));
  }

  static int64_t bytes_of_image(const ConvShape& s) {
    return (int64_t(s.out_height) + s.kernel_y) * (s.out_width + s.kernel_x) *
           over(s.out_channels, kGradientBlock) * kGradientBlock * int64_t(sizeof(float));
  }

  int64_t blocks() const { return blocks_; }
  const float* block(int64_t which) const { return data_.data() + which * of_block(); }

  // How many rows of the input read what fits in a strip.
  int64_t rows_of_strip() const {
    const int64_t rows = kStrip / (int64_t(width_) * kGradientBlock * int64_t(sizeof(float)));
    return std::max<int64_t>(1, (rows - top_) * shape_.stride_y);
  }

  // Each image's own, times scale [co] where that is given.
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

  // Where in a block the first tap of an input pixel leads to.
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
  LineVector<float> data_;
};

// The events of a strip of rows: a list for each class of pixels and input channel, with room for all of its
// pixels.
template <typename Event> class Lists {
public:
  // `list` is given each pixel of rows [first, last), counted through all images; events begin at `codes`.
  template <typename List>
  void gather(const uint8_t* codes, int64_t first, int64_t last, const ConvShape& s, const BackMaps& maps,
              List list) {
    const int64_t channels = s.in_channels, count = int64_t(s.stride_y) * s.stride_x * channels;
    room_ = over(s.in_width, s.stride_x) * (last - first); // rows of several images are of any class
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
  LineVector<Event> events_;
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
  // Scales that differ are multiplied into what comes back; one of all, into what is found.
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
  std::vector<int32_t> order; // of the taps
  for (const PixelClass& one : classes)
    order.insert(order.end(), one.taps.begin(), one.taps.end());
  const auto lanes_of = [&](int64_t block) {
    return std::min<int64_t>(kGradientBlock, out - block * kGradientBlock);
  };
  LineVector<float> sums(to_weights == nullptr ? 0 : place(in, 0, 0), 0.0f);
  LineVector<int8_t> weights(to_input == nullptr ? 0 : place(in, 0, 0), int8_t(0));
  const int64_t tile = std::max<int64_t>(1, kTile / taps);
  if (to_input != nullptr)
    share(blocks, in * taps * kGradientBlock, threads, [&](int64_t block) {
      for (int64_t start = 0; start < in; start += tile)
        for (int64_t lane = 0; lane < lanes_of(block); ++lane)
          for (int64_t ci = start; ci < std::min(start + tile, in); ++ci) {
            const int8_t* from = &signs_[size_t(((block * kGradientBlock + lane) * in + ci) * taps)];
            int8_t* to = &weights[place(ci, block, 0) + size_t(lane)];
            for (int64_t tap = 0; tap < taps; ++tap)
              to[tap * kGradientBlock] = from[order[size_t(tap)]];
          }
    });

  const int64_t height = std::min(maps.rows_of_strip(), group * s.in_height);
  const int64_t strips = over(group * s.in_height, height);
  std::vector<Lists<FloatEvent>> codes(to_weights == nullptr ? 0 : size_t(strips));
  std::vector<Lists<CodeEvent>> places(to_input == nullptr ? 0 : size_t(strips));
  for (int64_t first = 0; first < images; first += group) {
    const int64_t count = std::min(group, images - first), rows = count * s.in_height;
    const int64_t filled = over(rows, height);
    share(count, 16 * out_map, threads, [&](int64_t image) {
      maps.fill(image, dy + (first + image) * out_map, nullptr);
      if (is_scaled)
        scaled.fill(image, dy + (first + image) * out_map, to_input->scale);
    });
    share(filled, 32 * height * s.in_width * in, threads, [&](int64_t strip) {
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
    // Neighbouring channels, so that a thread has lines of the input's gradient to itself.
    share(over(in, kTogether), count * kTogether * out_map, threads, [&](int64_t part) {
      const int64_t begin = part * kTogether, end = std::min(in, begin + kTogether);
      LineVector<float> lanes, found;
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
        lanes.assign(size_t(events * kGradientBlock), 0.0f);
        for (int64_t block = 0; block < blocks; ++block) {
          float* to = lanes.data();
          each([&](int64_t ci, int64_t list, int64_t tap, const PixelClass& one) {
            kernels_.input_gradient(lists.begin(list), lists.end(list), of_input.block(block),
                                    one.offsets.data(), int32_t(one.taps.size()),
                                    &weights[place(ci, block, tap)], to);
            to += (lists.end(list) - lists.begin(list)) * kGradientBlock;
          });
        }
        found.resize(size_t(events));
        kernels_.sum_gradient_blocks(lanes.data(), events, found.data());
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
  share(blocks, 4 * in * taps * kGradientBlock, threads, [&](int64_t block) {
    for (int64_t start = 0; start < in; start += tile)
      for (int64_t lane = 0; lane < lanes_of(block); ++lane)
        for (int64_t ci = start; ci < std::min(start + tile, in); ++ci) {
          const float* from = &sums[place(ci, block, 0) + size_t(lane)];
          float* to = to_weights->gradient + ((block * kGradientBlock + lane) * in + ci) * taps;
          for (int64_t tap = 0; tap < taps; ++tap)
            to[order[size_t(tap)]] = from[tap * kGradientBlock] * to_weights->step;
        }
  });
}

} // namespace hdlif
