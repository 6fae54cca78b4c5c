#include "layer.h"

#include <algorithm>
#include <utility>

#include "../row_context.h"

namespace hdlif {
namespace {

// Where a thread keeps the events of the input rows under the kernel: for each step, as many rows as the
// kernel has, each with a start for each pixel, and the list of rows that a kernel is given.
struct EventRoom {
  int64_t events_per_row, starts_per_row, rows; // rows of all steps

  EventRoom(const Layer& layer, int64_t steps)
      : events_per_row(reads_rows(layer)
                           ? 0
                           : int64_t(layer.shape.in_width) *
                                 (layer.sum == Sum::kUnits ? layer.form.units : layer.shape.in_channels)),
        starts_per_row(reads_rows(layer) ? 0 : layer.shape.in_width + 1), rows(layer.rows() * steps) {}

  // Whether it has no events.
  static bool reads_rows(const Layer& layer) {
    return layer.sum == Sum::kDense || layer.sum == Sum::kGrouped;
  }

  int64_t list_bytes(const Layer& layer) const {
    return layer.shape.kernel_y * int64_t(sizeof(EventRow<UnitEvent>));
  }
  int64_t bytes(const Layer& layer) const {
    return list_bytes(layer) + rows * events_per_row * int64_t(sizeof(UnitEvent)) +
           rows * starts_per_row * int64_t(sizeof(int32_t));
  }
};

// A gathering of single entries.
template <typename In, typename Event>
auto entries_by(const Layer& layer, void (*gather)(const In*, int32_t, int32_t, int32_t, Event*, int32_t*)) {
  return [&layer, gather](const In* row, Event* events, int32_t* starts) {
    gather(row, layer.shape.in_width, layer.shape.in_channels, layer.shape.out_channels, events, starts);
  };
}

class LayerRow {
public:
  LayerRow(RowContext& context, const Layer& layer) : c_(context), layer_(layer) {}

  void compute() {
    switch (layer_.sum) {
    case Sum::kUnits: {
      const bool adds = adds_changes();
      const auto gather = [&](const uint8_t* row, UnitEvent* events, int32_t* starts) {
        const uint8_t* before = adds ? row - c_.frame_bytes(c_.input_of_root()) : nullptr;
        c_.kernels.gather_units(row, before, layer_.shape.in_width, layer_.shape, layer_.form, events,
                                starts);
      };
      return sum_events<uint8_t, UnitEvent>(
          gather, [&](const auto* rows, int32_t first, const ConvShape& part, float* y) {
            int32_t* totals = reinterpret_cast<int32_t*>(c_.memory.totals.data());
            c_.kernels.unit_row(rows, layer_.index.data(), layer_.table.data(), layer_.form, adds,
                                totals + int64_t(first) * layer_.form.lanes, y, part);
          });
    }
    case Sum::kCodes:
      return sum_events<uint8_t, CodeEvent>(entries_by(layer_, c_.kernels.gather_codes),
                                            [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                              c_.kernels.code_row(rows, layer_.low_bit.data(), y, part);
                                            });
    case Sum::kCodeValues:
      return sum_events<uint8_t, FloatEvent>(entries_by(layer_, c_.kernels.gather_code_values),
                                             [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                               c_.kernels.float_row(rows, layer_.floats.data(), y, part);
                                             });
    case Sum::kFloats:
      return sum_events<float, FloatEvent>(entries_by(layer_, c_.kernels.gather_floats),
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
      if (layer_.shape.max_code > 0)
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

  // Finds the events of the rows under the kernel, and calls sum(rows, first, part, y): see in_pixel_parts.
  template <typename In, typename Event, typename Gather, typename Kernel>
  void sum_events(const Gather& gather, const Kernel& sum) {
    float* y = floats(c_.output_row(c_.stage.root + 1));
    const EventRow<Event>* rows = gathered<In, Event>(gather);
    c_.in_pixel_parts(layer_.shape, [&](int32_t first, const ConvShape& part) {
      sum(rows, first, part, y + int64_t(first) * part.out_channels);
    });
  }

  // Calls sum(rows, part, y) with the input rows under the kernel themselves.
  template <typename In, typename Kernel> void sum_rows(const Kernel& sum) {
    float* y = floats(c_.output_row(c_.stage.root + 1));
    const In** rows = reinterpret_cast<const In**>(c_.memory.events.data());
    const ConvShape& s = layer_.shape;
    const int32_t y0 = top_of_field(s);
    for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
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

  // Whether this step's sums are those of the step before and what its changes add: where codes change less
  // often than they are not zero. The totals are integers, so that both ways give the same.
  bool adds_changes() {
    if (c_.step == 0 || c_.plan.leading(c_.input_of_root(), c_.chunk) == 1)
      return false;
    if (!c_.is_gathered) { // decided once for all rows whose events are gathered one after the other
      const ConvShape& s = layer_.shape;
      const int32_t y0 = top_of_field(s), top = std::max(y0, 0), bottom = bottom_of_field(s);
      const uint8_t* row = c_.in_slot(c_.input_of_root(), c_.image_of_root(), top);
      const int64_t count = int64_t(bottom - top) * s.in_width * s.in_channels;
      c_.memory.adds_changes[c_.step] =
          c_.kernels.excess_of_changes(row, row - c_.frame_bytes(c_.input_of_root()), count) < 0;
    }
    return c_.memory.adds_changes[c_.step];
  }

  // The events of the rows under the kernel: those that the row before did not have are gathered now.
  template <typename In, typename Event, typename Gather>
  const EventRow<Event>* gathered(const Gather& gather) {
    static_assert(sizeof(Event) == sizeof(UnitEvent) &&
                  sizeof(EventRow<Event>) == sizeof(EventRow<UnitEvent>));
    const ConvShape& s = layer_.shape;
    const auto ring = int32_t(layer_.rows());
    const EventRoom room(layer_, c_.plan.leading(c_.stage.root + 1, c_.chunk));
    auto* list = reinterpret_cast<EventRow<Event>*>(c_.memory.events.data());
    auto* events = reinterpret_cast<Event*>(c_.memory.events.data() + room.list_bytes(layer_));
    auto* starts = reinterpret_cast<int32_t*>(events + room.rows * room.events_per_row);
    const int32_t y0 = top_of_field(s), top = std::max(y0, 0), bottom = bottom_of_field(s);
    const int32_t known = c_.is_gathered ? std::max(top, bottom_before(s)) : top;
    const auto place_of = [&](int32_t iy) { return c_.step * ring + iy % ring; };
    // also those between the taps of a dilated kernel: the taps of rows below meet them
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

  int32_t top_of_field(const ConvShape& s) const {
    return int32_t(c_.row % s.out_height) * s.stride_y - s.pad_y;
  }

  int32_t bottom_of_field(const ConvShape& s) const {
    return std::min(top_of_field(s) + (s.kernel_y - 1) * s.dilation_y + 1, s.in_height);
  }

  // Where the field of the output row above ends.
  int32_t bottom_before(const ConvShape& s) const {
    return std::min(top_of_field(s) - s.stride_y + (s.kernel_y - 1) * s.dilation_y + 1, s.in_height);
  }

  RowContext& c_;
  const Layer& layer_;
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
  LayerRow(rows, rows.plan.layers[n]).compute();
}

int64_t event_bytes(const Layer& layer, int64_t steps) {
  return EventRoom(layer, steps).bytes(layer);
}

} // namespace hdlif
