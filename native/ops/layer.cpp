#include "layer.h"

#include <algorithm>
#include <utility>

#include "../row_context.h"

namespace hdlif {
namespace {

// Returns the maximum number of events of a pixel.
int64_t entries_of_pixel(const Layer& layer, const Taps* taps) {
  const int64_t entries = layer.sum == Sum::kUnits ? layer.form.units : layer.shape.in_channels;
  return taps != nullptr ? entries / taps->count : entries;
}

// The memory for the events of the input rows under the kernel. Each step has as many rows as the kernel,
// each row has a start per pixel, and a list contains the rows passed to a kernel. In time, it holds one row
// of all frames, or the frames under the taps.
struct EventRoom {
  int64_t events_per_row, starts_per_row, rows; // total of all steps

  EventRoom(const Layer& layer, const Taps* taps, int64_t steps) {
    const int64_t frames = taps == nullptr ? 0 : std::max<int64_t>(steps + taps->reach(), taps->count);
    const int64_t width = taps == nullptr ? layer.shape.in_width : frames;
    events_per_row = reads_rows(layer) ? 0 : width * entries_of_pixel(layer, taps);
    starts_per_row = reads_rows(layer) ? 0 : width + (taps == nullptr ? 1 : taps->count);
    rows = taps == nullptr ? layer.rows() * steps : 1;
  }

  // Returns whether the layer reads input rows directly, without events.
  static bool reads_rows(const Layer& layer) {
    return layer.sum == Sum::kDense || layer.sum == Sum::kGrouped;
  }

  static int64_t list_bytes(const Layer& layer, const Taps* taps) {
    const int32_t count = taps != nullptr ? taps->count : layer.shape.kernel_y;
    return count * int64_t(sizeof(EventRow<UnitEvent>));
  }
  int64_t bytes(const Layer& layer, const Taps* taps) const {
    return list_bytes(layer, taps) + rows * events_per_row * int64_t(sizeof(UnitEvent)) +
           rows * starts_per_row * int64_t(sizeof(int32_t));
  }
};

// The layer as a kernel computes steps of one pixel: on a row of frames, with taps that go back; or, for a
// single step, on the frames under the taps, each a row of one pixel, so that no frame between them is read.
struct InTime {
  bool are_rows;
  int64_t first; // first frame of the row, relative to the frame of the first step
  ConvShape shape;
  LookupForm form;

  InTime(const Layer& layer, const Taps& taps, int64_t steps)
      : are_rows(steps == 1), first(are_rows ? 0 : -taps.reach()), shape(layer.shape), form(layer.form) {
    shape.in_channels = layer.shape.in_channels / taps.count;
    shape.stride_y = shape.stride_x =
        1; // all steps are computed, and the stride of a map of one pixel has no effect
    if (form.per_unit > 0)
      form.units = shape.in_channels / form.per_unit;
    if (are_rows) {
      shape.kernel_y = shape.in_height = taps.count;
      return;
    }
    shape.kernel_x = taps.count;
    shape.dilation_x = taps.count > 1 ? -taps.dilation : 1;
    shape.pad_x = -taps.reach();
    shape.in_width = int32_t(steps + taps.reach());
    shape.out_width = int32_t(steps);
  }
};

// Gathers single entries.
template <typename In, typename Event>
auto entries_by(const ConvShape& s, void (*gather)(const In*, int32_t, int32_t, int32_t, Event*, int32_t*)) {
  return [&s, gather](const In* row, Event* events, int32_t* starts) {
    gather(row, s.in_width, s.in_channels, s.lanes(), events, starts);
  };
}

class LayerRow {
public:
  LayerRow(RowContext& context, const Layer& layer)
      : c_(context), layer_(layer), shape_(layer.shape), form_(layer.form) {}

  LayerRow(RowContext& context, const Layer& layer, const Taps& taps, const InTime& in_time)
      : c_(context), layer_(layer), shape_(in_time.shape), form_(in_time.form), taps_(&taps),
        in_time_(&in_time) {}

  void compute() {
    if (kMayHaveTiles && taps_ == nullptr && layer_.tiles.depth > 0 && uses_tiles())
      return sum_tiles();
    switch (layer_.sum) {
    case Sum::kUnits: {
      const bool adds = adds_changes();
      const auto gather = [&](const uint8_t* row, UnitEvent* events, int32_t* starts) {
        const uint8_t* before = adds ? row - c_.frame_bytes(c_.input_of_root()) : nullptr;
        c_.kernels.gather_units(row, before, shape_.in_width, shape_, form_, events, starts);
      };
      return sum_events<uint8_t, UnitEvent>(
          gather, [&](const auto* rows, int32_t first, const ConvShape& part, float* y) {
            int32_t* totals = reinterpret_cast<int32_t*>(c_.memory.totals.data());
            c_.kernels.unit_row(rows, layer_.index.data(), layer_.table.data(), form_, adds,
                                totals + int64_t(first) * form_.lanes, y, part);
          });
    }
    case Sum::kCodes:
      return sum_events<uint8_t, CodeEvent>(entries_by(shape_, c_.kernels.gather_codes),
                                            [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                              c_.kernels.code_row(rows, layer_.low_bit.data(), y, part);
                                            });
    case Sum::kCodeValues:
      return sum_events<uint8_t, FloatEvent>(entries_by(shape_, c_.kernels.gather_code_values),
                                             [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                               c_.kernels.float_row(rows, layer_.floats.data(), y, part);
                                             });
    case Sum::kFloats:
      return sum_events<float, FloatEvent>(entries_by(shape_, c_.kernels.gather_floats),
                                           [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                             if (layer_.low_bit.empty())
                                               c_.kernels.float_row(rows, layer_.floats.data(), y, part);
                                             else
                                               c_.kernels.float_row_low_bit(rows, layer_.low_bit.data(), y,
                                                                            part);
                                           });
    case Sum::kDense:
      return sum_rows<float>([&](const float* const* rows, const ConvShape& part, float* y) {
        if (layer_.low_bit.empty())
          c_.kernels.dense_row(rows, layer_.floats.data(), y, part);
        else
          c_.kernels.dense_row_low_bit(rows, layer_.low_bit.data(), y, part);
      });
    case Sum::kGrouped:
      if (shape_.max_code > 0)
        return sum_rows<uint8_t>([&](const uint8_t* const* rows, const ConvShape& part, float* y) {
          if (layer_.low_bit.empty())
            c_.kernels.grouped_row_of_codes(rows, layer_.floats.data(), y, part);
          else
            c_.kernels.grouped_row_of_codes_low_bit(rows, layer_.low_bit.data(), y, part);
        });
      return sum_rows<float>([&](const float* const* rows, const ConvShape& part, float* y) {
        if (layer_.low_bit.empty())
          c_.kernels.grouped_row(rows, layer_.floats.data(), y, part);
        else
          c_.kernels.grouped_row_low_bit(rows, layer_.low_bit.data(), y, part);
      });
    }
  }

  // Returns whether tiles are faster for these rows; decided once for all of them.
  bool uses_tiles() {
    if (c_.is_chosen)
      return c_.tiles.has_value();
    c_.is_chosen = true;
    const int64_t steps = c_.plan.leading(c_.stage.root + 1, c_.chunk), rows = c_.end - c_.row;
    c_.tiles.emplace(shape_, layer_.tiles, steps);
    // the watch is checked between the blocks of a group; other kernels check it between pixels
    constexpr double kLongest = double(int64_t(1) << 33);
    if (c_.plan.work[c_.stage.root].row * double(steps * c_.tiles->most_rows()) > kLongest)
      c_.tiles.reset();
    if (!c_.tiles || layer_.sum != Sum::kUnits)
      return c_.tiles.has_value();
    // measured: the costs of looking up 64 sums, and of an output entry
    constexpr double kLookup = 1.1, kEntry = 1.2;
    const double entries = double(rows * steps * shape_.out_width) * shape_.out_channels;
    const double spare = c_.tiles->cycles(rows) - entries * kEntry;
    if (spare <= 0)
      return true;
    const double of_code = kLookup * shape_.kernel_y * shape_.kernel_x * form_.lanes / 64 /
                           (double(shape_.stride_y) * shape_.stride_x);
    if (codes_to_look_up(rows, steps) * of_code < spare)
      c_.tiles.reset();
    return c_.tiles.has_value();
  }

  // Estimates the codes to look up in the images of these rows, scaled to the rows. After the first step,
  // counts only changed codes if these are fewer. Samples about kLookedAt codes in evenly spaced rows.
  double codes_to_look_up(int64_t rows, int64_t steps) const {
    constexpr int64_t kLookedAt = 1 << 13;
    const int64_t first = c_.row / shape_.out_height, last = (c_.end - 1) / shape_.out_height + 1;
    const int32_t input = c_.input_of_root();
    const int64_t count = int64_t(shape_.in_width) * shape_.in_channels, frame = c_.frame_bytes(input);
    const int64_t all = (last - first) * shape_.in_height,
                  every = std::min(all * steps, all * steps * count / kLookedAt + 1);
    int64_t live = 0, seen = 0;
    for (int64_t row = every / 2; row < all * steps; row += every, ++seen) {
      const uint8_t* codes = c_.in_slot(input, first, 0) + row / all * frame + row % all * count;
      live += c_.kernels.live_codes(codes, count);
      if (row >= all)
        live += std::min<int64_t>(0, c_.kernels.excess_of_changes(codes, codes - frame, count));
    }
    return double(live) * double(rows * steps * shape_.in_height) / double(shape_.out_height * seen);
  }

  // Computes all steps of a group of rows at its first row and step; later calls only look up the sums.
  void sum_tiles() {
    const int32_t value = c_.stage.root + 1;
    const int64_t steps = c_.plan.leading(value, c_.chunk);
    const int64_t row = int64_t(shape_.out_width) * shape_.out_channels;
    const bool is_kept = c_.workspace.placement.slot[value] >= 0; // the sums are written to a slot
    uint8_t* memory = c_.memory.tiles.data();
    float* sums = c_.tiles->sums(memory);
    if (c_.row >= c_.tiles_end) {
      c_.tiles_first = c_.row;
      c_.tiles_end = std::min(c_.end, c_.row + c_.tiles->most_rows());
      const int32_t input = c_.input_of_root();
      c_.tiles->gather(c_.in_slot(input, 0, 0), c_.frame_bytes(input), c_.tiles_first, c_.tiles_end,
                       is_kept ? c_.frame_bytes(value) / int64_t(sizeof(float)) : row,
                       is_kept ? row : steps * row, memory);
      float* y = is_kept ? floats(c_.output_row(value)) : sums;
      const double work = c_.plan.work[c_.stage.root].row * double((c_.tiles_end - c_.row) * steps);
      for (int32_t block = 0; block < layer_.tiles.blocks && !c_.stops; ++block) {
        c_.tiles->sum(c_.kernels.sum_tiles, layer_.tile_weights.data(), block, y);
        c_.stops = !c_.goes_on_after(work / layer_.tiles.blocks);
      }
    }
    if (is_kept)
      c_.output_row(value);
    else
      c_.memory.at[value] =
          reinterpret_cast<uint8_t*>(sums + ((c_.row - c_.tiles_first) * steps + c_.step) * row);
  }

  // Finds the events of the rows under the kernel, and calls sum(rows, first, part, y); see in_pixel_parts.
  template <typename In, typename Event, typename Gather, typename Kernel>
  void sum_events(const Gather& gather, const Kernel& sum) {
    float* y = floats(c_.output_row(c_.stage.root + 1));
    const EventRow<Event>* rows =
        taps_ != nullptr ? gathered_in_time<In, Event>(gather) : gathered<In, Event>(gather);
    c_.in_pixel_parts(shape_, [&](int32_t first, const ConvShape& part) {
      sum(rows, first, part, y + int64_t(first) * part.out_channels);
    });
  }

  // Calls sum(rows, part, y) with the input rows under the kernel, without gathering events.
  template <typename In, typename Kernel> void sum_rows(const Kernel& sum) {
    float* y = floats(c_.output_row(c_.stage.root + 1));
    const In** rows = reinterpret_cast<const In**>(c_.memory.events.data());
    const ConvShape& s = shape_;
    const int32_t y0 = top_of_field(s);
    for (int32_t ky = 0; taps_ != nullptr && ky < s.kernel_y; ++ky)
      rows[ky] = frame<In>(ky);
    for (int32_t ky = 0; taps_ == nullptr && ky < s.kernel_y; ++ky) {
      const int32_t iy = y0 + ky * s.dilation_y;
      const bool is_inside = iy >= 0 && iy < s.in_height;
      rows[ky] = is_inside
                     ? reinterpret_cast<const In*>(c_.in_slot(c_.input_of_root(), c_.image_of_root(), iy))
                     : nullptr;
    }
    c_.in_pixel_parts(s, [&](int32_t first, const ConvShape& part) {
      sum(rows, part, y + int64_t(first) * part.out_channels);
    });
  }

  // Returns whether to add changes to the sums of the previous step: if fewer codes changed than are not
  // zero. The totals are integers, so both ways give the same result.
  bool adds_changes() {
    if (taps_ != nullptr || c_.step == 0 || c_.plan.leading(c_.input_of_root(), c_.chunk) == 1)
      return false;
    if (!c_.is_gathered) { // decided once for all rows whose events are gathered successively
      const ConvShape& s = shape_;
      const int32_t y0 = top_of_field(s), top = std::max(y0, 0), bottom = bottom_of_field(s);
      const uint8_t* row = c_.in_slot(c_.input_of_root(), c_.image_of_root(), top);
      const int64_t count = int64_t(bottom - top) * s.in_width * s.in_channels;
      c_.memory.adds_changes[c_.step] =
          c_.kernels.excess_of_changes(row, row - c_.frame_bytes(c_.input_of_root()), count) < 0;
    }
    return c_.memory.adds_changes[c_.step];
  }

  // Returns the events of the rows under the kernel; gathers those that the previous row did not have.
  template <typename In, typename Event, typename Gather>
  const EventRow<Event>* gathered(const Gather& gather) {
    static_assert(sizeof(Event) == sizeof(UnitEvent) &&
                  sizeof(EventRow<Event>) == sizeof(EventRow<UnitEvent>));
    const ConvShape& s = shape_;
    const auto ring = int32_t(layer_.rows());
    const EventRoom room(layer_, nullptr, c_.plan.leading(c_.stage.root + 1, c_.chunk));
    auto* list = reinterpret_cast<EventRow<Event>*>(c_.memory.events.data());
    auto* events = reinterpret_cast<Event*>(c_.memory.events.data() + room.list_bytes(layer_, nullptr));
    auto* starts = reinterpret_cast<int32_t*>(events + room.rows * room.events_per_row);
    const int32_t y0 = top_of_field(s), top = std::max(y0, 0), bottom = bottom_of_field(s);
    const int32_t known = c_.is_gathered ? std::max(top, bottom_before(s)) : top;
    const auto place_of = [&](int32_t iy) { return c_.step * ring + iy % ring; };
    // includes rows between the taps of a dilated kernel, which output rows below read
    for (int32_t iy = known; iy < bottom && !c_.stops; ++iy) {
      const int64_t place = place_of(iy);
      gather(reinterpret_cast<const In*>(c_.in_slot(c_.input_of_root(), c_.image_of_root(), iy)),
             events + place * room.events_per_row, starts + place * room.starts_per_row);
      c_.stops = !c_.goes_on_after(double(s.in_width) * s.in_channels);
    }
    for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
      const int32_t iy = y0 + ky * s.dilation_y;
      list[ky] = {};
      if (iy >= top && iy < bottom) {
        const int64_t place = place_of(iy);
        list[ky] = {events + place * room.events_per_row, starts + place * room.starts_per_row};
      }
    }
    return list;
  }

  // In time: returns the row of frames or, for a single step, the frame under a tap.
  template <typename In> const In* frame(int32_t tap) const {
    const int64_t at = in_time_->first - int64_t(tap) * taps_->dilation;
    return reinterpret_cast<const In*>(c_.in_slot(taps_->source, 0, 0) + at * c_.frame_bytes(taps_->source));
  }

  // In time: returns the events of the row of frames or, for a single step, of each frame.
  template <typename In, typename Event, typename Gather>
  const EventRow<Event>* gathered_in_time(const Gather& gather) {
    const EventRoom room(layer_, taps_, c_.chunk.steps);
    auto* list = reinterpret_cast<EventRow<Event>*>(c_.memory.events.data());
    auto* events = reinterpret_cast<Event*>(c_.memory.events.data() + room.list_bytes(layer_, taps_));
    auto* starts = reinterpret_cast<int32_t*>(events + room.rows * room.events_per_row);
    for (int32_t ky = 0; ky < shape_.kernel_y; ++ky) {
      gather(frame<In>(ky), events, starts);
      list[ky] = {events, starts};
      events += int64_t(shape_.in_width) * entries_of_pixel(layer_, taps_);
      starts += shape_.in_width + 1;
    }
    return list;
  }

  int32_t top_of_field(const ConvShape& s) const {
    return int32_t(c_.row % s.out_height) * s.stride_y - s.pad_y;
  }

  int32_t bottom_of_field(const ConvShape& s) const {
    return std::min(top_of_field(s) + (s.kernel_y - 1) * s.dilation_y + 1, s.in_height);
  }

  // Returns the end of the receptive field of the output row above.
  int32_t bottom_before(const ConvShape& s) const {
    return std::min(top_of_field(s) - s.stride_y + (s.kernel_y - 1) * s.dilation_y + 1, s.in_height);
  }

  RowContext& c_;
  const Layer& layer_;
  const ConvShape& shape_;
  const LookupForm& form_;
  const Taps* taps_ = nullptr; // null unless in time
  const InTime* in_time_ = nullptr;
};

} // namespace

RowWork layer_work(const Node& node, const Value& in, const Value& out) {
  const double lanes = (out.channels + 15) / 16 * 16;
  const double taps = double(node.window.kernel_y) * node.window.kernel_x;
  const double rows = std::min(node.window.reach_y(), std::max(node.window.kernel_y, in.height));
  RowWork work;
  work.pixel = taps * (in.channels / node.groups) * lanes;
  work.piece = kEntryWork * in.width * in.channels; // to find the events of an input row
  work.row = out.width * work.pixel + rows * work.piece;
  return work;
}

void compute_layer(RowContext& rows, int32_t n) {
  const Layer& layer = rows.plan.layers[n];
  if (!rows.workspace.placement.in_time)
    return LayerRow(rows, layer).compute();
  const Taps& taps = rows.plan.timeline.taps[n];
  const InTime in_time(layer, taps, rows.steps_at_once);
  LayerRow(rows, layer, taps, in_time).compute();
}

int64_t event_bytes(const Layer& layer, const Taps* taps, int64_t steps) {
  return EventRoom(layer, taps, steps).bytes(layer, taps);
}

} // namespace hdlif
