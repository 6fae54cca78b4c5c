#include "stage_rows.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace hdlif {
namespace {

Row row(const Rows& rows, int64_t t) {
  return {rows.at(t), rows.columns};
}

PoolShape pool_shape(const Node& node, const Value& in, const Value& out) {
  Window w = node.window;
  if (node.op == Op::kGlobalSumPool) {
    w.kernel_y = in.height;
    w.kernel_x = in.width;
  }
  return {in.height,  in.width,   in.channels, out.height, out.width, w.kernel_y,
          w.kernel_x, w.stride_y, w.stride_x,  w.pad_y,    w.pad_x};
}

// Where a thread keeps the events of the input rows under the kernel: for each step, as many rows as the
// kernel has, each with a start for each pixel, and the list of rows that a kernel is given.
struct EventRoom {
  int64_t events_per_row, starts_per_row, rows; // rows of all steps

  EventRoom(const Layer& layer, int64_t steps)
      : events_per_row(layer.sum == Sum::kDense
                           ? 0
                           : int64_t(layer.shape.in_width) *
                                 (layer.sum == Sum::kUnits ? layer.form.units : layer.shape.in_channels)),
        starts_per_row(layer.sum == Sum::kDense ? 0 : layer.shape.in_width + 1), rows(layer.rows() * steps) {}

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

// Computes rows of one stage on one thread.
class StageRows {
public:
  StageRows(const Plan& plan, const Stage& stage, const Chunk& chunk, Workspace& workspace, Watch& watch,
            int thread)
      : plan_(plan), program_(plan.program), kernels_(plan.kernels), stage_(stage), chunk_(chunk),
        workspace_(workspace), memory_(workspace.threads[thread]), watch_(watch), is_caller_(thread == 0) {}

  // Rows [first, last) of row = image * height + oy; fewer where the run is to stop.
  void compute(int64_t first, int64_t last) {
    const int64_t steps = plan_.leading(stage_, chunk_);
    for (int64_t row = first; row < last; ++row) {
      row_ = row;
      for (int64_t step = 0; step < steps; ++step) {
        step_ = step;
        if (stage_.root >= 0 && is_due(stage_.root)) {
          compute_root();
          if (stops_ || !goes_on_after(plan_.work[stage_.root].row))
            return;
        }
        for (int32_t n : stage_.chain)
          if (is_due(n)) {
            if (const FiringNodes& firing = workspace_.placement.firing[n]; firing.neuron >= 0)
              compute_firing(firing);
            else if (!workspace_.placement.is_passed[n])
              compute_entries(n);
            if (!goes_on_after(plan_.work[n].row))
              return;
          }
      }
      is_gathered_ = stage_.root >= 0 && (row + 1) % program_.values[stage_.root + 1].height != 0;
    }
  }

private:
  // Looks at the watch where enough has been computed since.
  bool goes_on_after(double work) {
    constexpr double kBetweenLooks = 1 << 20;
    unwatched_ += work;
    if (unwatched_ < kBetweenLooks)
      return true;
    unwatched_ = 0;
    return is_caller_ ? watch_.look() : !watch_.stopped();
  }

  // Calls kernel(first, part) for the output row of a root, a long one in parts: `part` is the shape of one
  // that begins at pixel `first`.
  template <typename Shape, typename Kernel> void in_pixel_parts(const Shape& whole, const Kernel& kernel) {
    constexpr double kLongest = 1 << 25;
    const double pixel = plan_.work[stage_.root].pixel;
    const auto most = int32_t(std::clamp(kLongest / pixel, 1.0, double(whole.out_width)));
    Shape part = whole;
    for (int32_t first = 0; first < whole.out_width && !stops_; first += part.out_width) {
      part.out_width = std::min(most, whole.out_width - first);
      part.pad_x = whole.pad_x - first * whole.stride_x;
      kernel(first, part);
      if (most < whole.out_width)
        stops_ = !goes_on_after(part.out_width * pixel);
    }
  }

  bool is_due(int32_t n) const { return step_ == 0 || plan_.leading(n + 1, chunk_) > 1; }

  // Where row `y` of `image` begins in a value's slot, at this step.
  uint8_t* in_slot(int32_t value, int64_t image, int64_t y) const {
    const Value& type = program_.values[value];
    const int64_t step = plan_.leading(value, chunk_) > 1 ? step_ : 0;
    const int64_t first = ((step * chunk_.batch + image) * type.height + y) * type.width * type.channels;
    return workspace_.slots[workspace_.placement.slot[value]].data() + first * type.entry_bytes();
  }

  // This row of a value; of one that is written here, where it is to be written.
  uint8_t* output_row(int32_t value) {
    const int32_t height = program_.values[value].height;
    uint8_t* to = workspace_.placement.slot[value] >= 0
                      ? in_slot(value, row_ / height, row_ % height)
                      : memory_.tile.data() + workspace_.placement.tile[value];
    memory_.at[value] = to;
    return to;
  }

  const uint8_t* input_row(int32_t value) const {
    if (workspace_.placement.slot[value] < 0)
      return memory_.at[value];
    const int32_t height = program_.values[value].height;
    return in_slot(value, row_ / height, row_ % height);
  }

  // The same as float32.
  const float* float_row(int32_t n, int i) {
    const int32_t value = program_.nodes[n].inputs[i];
    const Value& type = program_.values[value];
    const uint8_t* from = input_row(value);
    if (type.max_code == 0)
      return floats(from);
    float* widened = floats(memory_.tile.data() + workspace_.placement.widened[2 * n + i]);
    kernels_.widen(from, widened, int64_t(type.width) * type.channels);
    return widened;
  }

  float* potential_row(int32_t n) const {
    const int32_t which = plan_.potential_of[n];
    const Value& type = program_.values[n + 1];
    return which < 0 ? nullptr : chunk_.potentials[which] + row_ * type.width * type.channels;
  }

  void compute_firing(const FiringNodes& nodes) {
    const int64_t t = chunk_.t + step_;
    const Node &neuron = program_.nodes[nodes.neuron], &quantise = program_.nodes[nodes.quantise];
    const Value& out = program_.values[nodes.quantise + 1];
    Firing firing;
    int32_t x = neuron.inputs[0];
    if (nodes.add >= 0) {
      const auto& inputs = program_.nodes[nodes.add].inputs;
      const int which = nodes.affine >= 0 && inputs[1] == nodes.affine + 1 ? 1 : 0;
      x = inputs[which];
      firing.addend = floats(input_row(inputs[1 - which]));
    }
    if (nodes.affine >= 0) {
      x = program_.nodes[nodes.affine].inputs[0];
      firing.scale = program_.nodes[nodes.affine].rows[0].at(t);
      firing.shift = program_.nodes[nodes.affine].rows[1].at(t);
    }
    const int32_t current = neuron.inputs[0];
    if (x != current &&
        (workspace_.placement.slot[current] >= 0 || workspace_.placement.is_read_again[current]))
      firing.current = floats(output_row(current));
    firing.potential = potential_row(nodes.neuron);
    const Equation& equation = *neuron.equation;
    if (equation.fused.leak >= 0)
      firing.leak = row(equation.rows[equation.fused.leak], t);
    firing.threshold = row(equation.rows[equation.fused.threshold], t);
    firing.inverse_step = row(quantise.rows[0], t);
    firing.offset = quantise.offset;
    firing.largest = float(out.max_code);
    kernels_.fire(floats(input_row(x)), output_row(nodes.quantise + 1), firing, out.width, out.channels);
  }

  void compute_entries(int32_t n) {
    const Node& node = program_.nodes[n];
    const Value& out = program_.values[n + 1];
    const int64_t t = chunk_.t + step_, pixels = out.width;
    const int32_t channels = out.channels;
    const auto& rows = node.rows;
    if (node.op == Op::kAffine && is_identity(n, t)) {
      const uint8_t* x = input_row(node.inputs[0]);
      if (workspace_.placement.slot[n + 1] >= 0)
        std::memcpy(output_row(n + 1), x, size_t(pixels * channels) * sizeof(float));
      else
        memory_.at[n + 1] = x;
      return;
    }
    if (node.op == Op::kSlice || node.op == Op::kConcat)
      return copy_channels(n);
    if (node.op == Op::kProgram)
      return compute_equation(n);
    const float* x = float_row(n, 0);
    uint8_t* codes = output_row(n + 1);
    float* y = floats(codes);
    switch (node.op) {
    case Op::kAffine:
      kernels_.affine(x, y, rows[0].at(t), rows[1].at(t), pixels, channels);
      break;
    case Op::kQuantise:
      kernels_.quantise(x, codes, row(rows[0], t), node.offset, float(out.max_code), pixels, channels);
      break;
    case Op::kAdd:
      kernels_.add(x, float_row(n, 1), y, pixels * channels);
      break;
    default:
      break;
    }
  }

  void compute_equation(int32_t n) {
    const Equation& equation = *program_.nodes[n].equation;
    const Value& out = program_.values[n + 1];
    const float* x = float_row(n, 0);
    uint8_t* codes = output_row(n + 1);
    if (equation.fused.kernel != Fused::kNone)
      return compute_fused(n, equation, x, codes);
    const int64_t offset = row_ * out.width * out.channels;
    Row rows[kMaxEquationRows];
    for (size_t i = 0; i < equation.rows.size(); ++i)
      rows[i] = row(equation.rows[i], chunk_.t + step_);
    float* states[kMaxStates];
    for (int32_t s = 0; s < equation.states(); ++s)
      states[s] = chunk_.potentials[plan_.potential_of[n] + s] + offset;
    const EquationStep step{rows,
                            equation.instructions.data(),
                            equation.after.data(),
                            int32_t(equation.rows.size()),
                            int32_t(equation.instructions.size()),
                            equation.states(),
                            equation.spike};
    kernels_.equation(x, states, out.max_code > 0 ? nullptr : floats(codes),
                      out.max_code > 0 ? codes : nullptr, step, floats(memory_.scratch.data()), out.width,
                      out.channels);
  }

  void compute_fused(int32_t n, const Equation& equation, const float* x, uint8_t* codes) {
    const Fused& fused = equation.fused;
    const Value& out = program_.values[n + 1];
    const int64_t t = chunk_.t + step_, pixels = out.width;
    const Row threshold = row(equation.rows[fused.threshold], t);
    if (fused.kernel == Fused::kParallel)
      return kernels_.parallel(x, floats(codes), threshold, pixels, out.channels);
    const Row leak = row(equation.rows[fused.leak], t);
    float* potential = potential_row(n);
    if (fused.kernel == Fused::kHdLif)
      kernels_.hd_lif(x, potential, floats(codes), leak, threshold, pixels, out.channels);
    else
      kernels_.lif(x, potential, codes, leak, threshold, fused.reset, pixels, out.channels);
  }

  // A slice, or a concatenation: of codes as they are, of codes and floats as floats. The smaller of two
  // pixels is what is copied: a slice's own, and each part of a concatenation.
  void copy_channels(int32_t n) {
    const Node& node = program_.nodes[n];
    const Value& out = program_.values[n + 1];
    const int64_t entry = out.entry_bytes(), to_pixel = out.channels * entry;
    uint8_t* to = output_row(n + 1);
    for (int i = 0; i < 2 && node.inputs[i] >= 0; ++i) {
      const Value& in = program_.values[node.inputs[i]];
      const uint8_t* from =
          out.max_code > 0 ? input_row(node.inputs[i]) : reinterpret_cast<const uint8_t*>(float_row(n, i));
      from += node.first_channel * entry;
      const int64_t from_pixel = in.channels * entry, bytes = std::min(from_pixel, to_pixel);
      for (int64_t p = 0; p < out.width; ++p)
        std::memcpy(to + p * to_pixel, from + p * from_pixel, size_t(bytes));
      to += from_pixel;
    }
  }

  bool is_identity(int32_t n, int64_t t) const {
    const std::vector<bool>& rows = plan_.identity_rows[n];
    return program_.values[program_.nodes[n].inputs[0]].max_code == 0 &&
           rows[std::min<size_t>(size_t(t), rows.size() - 1)];
  }

  void compute_root() {
    const Node& node = program_.nodes[stage_.root];
    switch (node.op) {
    case Op::kConv2d:
    case Op::kLinear:
      return compute_layer();
    case Op::kSeca:
      return compute_seca();
    case Op::kFlatten:
      return compute_flatten();
    default:
      return compute_pool();
    }
  }

  void compute_pool() {
    const Node& node = program_.nodes[stage_.root];
    const Value &in = program_.values[node.inputs[0]], &out = program_.values[stage_.root + 1];
    const uint8_t* x = in_slot(node.inputs[0], 0, 0);
    uint8_t* y = output_row(stage_.root + 1);
    in_pixel_parts(pool_shape(node, in, out), [&](int32_t first, const PoolShape& part) {
      uint8_t* codes = y + int64_t(first) * out.channels * out.entry_bytes();
      if (node.op == Op::kMaxPool && in.max_code > 0)
        kernels_.max_pool_codes(x, codes, part, row_);
      else if (node.op == Op::kMaxPool)
        kernels_.max_pool(floats(x), floats(codes), part, row_);
      else if (out.max_code > 0)
        kernels_.sum_pool_codes(x, codes, part, row_);
      else if (in.max_code > 0)
        kernels_.sum_pool_code_values(x, floats(codes), part, row_);
      else
        kernels_.sum_pool(floats(x), floats(codes), part, row_);
    });
  }

  // Of both, a row is a whole map.
  void compute_flatten() {
    const Value& in = program_.values[program_.nodes[stage_.root].inputs[0]];
    const uint8_t* x = in_slot(program_.nodes[stage_.root].inputs[0], row_, 0);
    uint8_t* y = in_slot(stage_.root + 1, row_, 0);
    if (in.max_code > 0)
      transpose(x, y, in.pixels(), in.channels);
    else
      transpose(floats(x), floats(y), in.pixels(), in.channels);
  }

  void compute_seca() {
    const int32_t n = stage_.root;
    const Node& node = program_.nodes[n];
    const Value& type = program_.values[n + 1];
    const uint8_t* codes = in_slot(node.inputs[0], row_, 0);
    const float* x = floats(codes);
    if (program_.values[node.inputs[0]].max_code > 0) {
      float* widened = floats(memory_.tile.data() + workspace_.placement.widened[2 * n]);
      kernels_.widen(codes, widened, type.size());
      x = widened;
    }
    const int64_t t = chunk_.t + step_;
    kernels_.seca(x, floats(in_slot(n + 1, row_, 0)), row(node.rows[0], t), *node.rows[1].at(t),
                  type.pixels(), type.channels, floats(memory_.scratch.data()));
  }

  void compute_layer() {
    const Layer& layer = plan_.layers[stage_.root];
    switch (layer.sum) {
    case Sum::kUnits: {
      const bool adds = adds_changes(layer);
      const auto gather = [&](const uint8_t* row, UnitEvent* events, int32_t* starts) {
        const uint8_t* before = adds ? row - frame_bytes(input_of_root()) : nullptr;
        kernels_.gather_units(row, before, layer.shape.in_width, layer.shape, layer.form, events, starts);
      };
      return sum_events<uint8_t, UnitEvent>(
          layer, gather, [&](const auto* rows, int32_t first, const ConvShape& part, float* y) {
            int32_t* totals = reinterpret_cast<int32_t*>(memory_.totals.data());
            kernels_.unit_row(rows, layer.index.data(), layer.table.data(), layer.form, adds,
                              totals + int64_t(first) * layer.form.lanes, y, part);
          });
    }
    case Sum::kCodes:
      return sum_events<uint8_t, CodeEvent>(layer, entries_by(layer, kernels_.gather_codes),
                                            [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                              kernels_.code_row(rows, layer.low_bit.data(), y, part);
                                            });
    case Sum::kCodeValues:
      return sum_events<uint8_t, FloatEvent>(layer, entries_by(layer, kernels_.gather_code_values),
                                             [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                               kernels_.float_row(rows, layer.floats.data(), y, part);
                                             });
    case Sum::kFloats:
      return sum_events<float, FloatEvent>(layer, entries_by(layer, kernels_.gather_floats),
                                           [&](const auto* rows, int32_t, const ConvShape& part, float* y) {
                                             if (layer.low_bit.empty())
                                               kernels_.float_row(rows, layer.floats.data(), y, part);
                                             else
                                               kernels_.float_row_low_bit(rows, layer.low_bit.data(), y,
                                                                          part);
                                           });
    case Sum::kDense:
      return sum_dense(layer);
    }
  }

  // Finds the events of the rows under the kernel, and calls sum(rows, first, part, y): see in_pixel_parts.
  template <typename In, typename Event, typename Gather, typename Kernel>
  void sum_events(const Layer& layer, const Gather& gather, const Kernel& sum) {
    float* y = floats(output_row(stage_.root + 1));
    const EventRow<Event>* rows = gathered<In, Event>(layer, gather);
    in_pixel_parts(layer.shape, [&](int32_t first, const ConvShape& part) {
      sum(rows, first, part, y + int64_t(first) * part.out_channels);
    });
  }

  void sum_dense(const Layer& layer) {
    float* y = floats(output_row(stage_.root + 1));
    const float** rows = reinterpret_cast<const float**>(memory_.events.data());
    const int32_t y0 = top_of_field(layer.shape);
    for (int32_t ky = 0; ky < layer.shape.kernel_y; ++ky) {
      const int32_t iy = y0 + ky;
      const bool is_inside = iy >= 0 && iy < layer.shape.in_height;
      rows[ky] = is_inside ? floats(in_slot(input_of_root(), image_of_root(), iy)) : nullptr;
    }
    in_pixel_parts(layer.shape, [&](int32_t first, const ConvShape& part) {
      float* to = y + int64_t(first) * part.out_channels;
      if (layer.low_bit.empty())
        kernels_.dense_row(rows, layer.floats.data(), to, part);
      else
        kernels_.dense_row_low_bit(rows, layer.low_bit.data(), to, part);
    });
  }

  // Whether this step's sums are those of the step before and what its changes add: where codes change less
  // often than they are not zero. The totals are integers, so that both ways give the same.
  bool adds_changes(const Layer& layer) {
    if (step_ == 0 || plan_.leading(input_of_root(), chunk_) == 1)
      return false;
    if (!is_gathered_) { // decided once for all rows whose events are gathered one after the other
      const ConvShape& s = layer.shape;
      const int32_t y0 = top_of_field(s), top = std::max(y0, 0),
                    bottom = std::min(y0 + s.kernel_y, s.in_height);
      const uint8_t* row = in_slot(input_of_root(), image_of_root(), top);
      const int64_t count = int64_t(bottom - top) * s.in_width * s.in_channels;
      memory_.adds_changes[step_] =
          kernels_.excess_of_changes(row, row - frame_bytes(input_of_root()), count) < 0;
    }
    return memory_.adds_changes[step_];
  }

  // From one step of a value to the next.
  int64_t frame_bytes(int32_t value) const {
    return chunk_.batch * program_.values[value].size() * program_.values[value].entry_bytes();
  }

  int32_t input_of_root() const { return program_.nodes[stage_.root].inputs[0]; }
  int64_t image_of_root() const { return row_ / program_.values[stage_.root + 1].height; }
  int32_t top_of_field(const ConvShape& s) const {
    return int32_t(row_ % s.out_height) * s.stride_y - s.pad_y;
  }

  // The events of the rows under the kernel: those that the row before did not have are gathered now.
  template <typename In, typename Event, typename Gather>
  const EventRow<Event>* gathered(const Layer& layer, const Gather& gather) {
    static_assert(sizeof(Event) == sizeof(UnitEvent) &&
                  sizeof(EventRow<Event>) == sizeof(EventRow<UnitEvent>));
    const ConvShape& s = layer.shape;
    const int64_t ring = layer.rows();
    const EventRoom room(layer, plan_.leading(stage_.root + 1, chunk_));
    auto* list = reinterpret_cast<EventRow<Event>*>(memory_.events.data());
    auto* events = reinterpret_cast<Event*>(memory_.events.data() + room.list_bytes(layer));
    auto* starts = reinterpret_cast<int32_t*>(events + room.rows * room.events_per_row);
    const int32_t y0 = top_of_field(s), top = std::max(y0, 0),
                  bottom = std::min(y0 + s.kernel_y, s.in_height);
    const int32_t known = is_gathered_ ? std::max(top, bottom_before(s)) : top;
    for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
      const int32_t iy = y0 + ky;
      if (iy < top || iy >= bottom) {
        list[ky] = {};
        continue;
      }
      const int64_t place = step_ * ring + iy % ring;
      list[ky] = {events + place * room.events_per_row, starts + place * room.starts_per_row};
      if (iy >= known && !stops_) {
        gather(reinterpret_cast<const In*>(in_slot(input_of_root(), image_of_root(), iy)),
               events + place * room.events_per_row, starts + place * room.starts_per_row);
        stops_ = !goes_on_after(double(s.in_width) * s.in_channels);
      }
    }
    return list;
  }

  // Where the field of the output row above ends.
  int32_t bottom_before(const ConvShape& s) const {
    return std::min(top_of_field(s) - s.stride_y + s.kernel_y, s.in_height);
  }

  const Plan& plan_;
  const Program& program_;
  const Kernels& kernels_;
  const Stage& stage_;
  const Chunk& chunk_;
  Workspace& workspace_;
  Workspace::Thread& memory_;
  Watch& watch_;
  bool is_caller_;
  double unwatched_ = 0; // work since the last look
  bool stops_ = false;   // the run is to stop within a row
  int64_t row_ = 0, step_ = 0;
  bool is_gathered_ = false; // the events of the row above are there
};

} // namespace

namespace {

// How much a workspace needs, beside a placement.
struct Needs {
  Placement placement;
  int64_t events = 0, totals = 0, scratch = 0, at = 0, potentials = 0; // bytes; but the last, of each thread

  Needs(const Plan& plan, int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool owns_potentials)
      : placement(place(plan, batch, steps, is_static, keeps_all)) {
    for (size_t n = 0; n < plan.program.nodes.size(); ++n) {
      const Value& out = plan.program.values[n + 1];
      const Node& node = plan.program.nodes[n];
      const int64_t node_steps = is_static && out.constant ? 1 : steps;
      if (node.op == Op::kConv2d || node.op == Op::kLinear) {
        events = std::max(events, EventRoom(plan.layers[n], node_steps).bytes(plan.layers[n]));
        totals = std::max(totals, int64_t(out.width) * plan.layers[n].form.lanes * int64_t(sizeof(int32_t)));
      }
      if (node.op == Op::kSeca)
        scratch = std::max<int64_t>(scratch, 2 * int64_t(out.channels) * sizeof(float));
      if (node.op == Op::kProgram)
        scratch =
            std::max<int64_t>(scratch, node.equation->registers() * kEquationBlock * int64_t(sizeof(float)));
    }
    at = int64_t(plan.program.values.size() * sizeof(const uint8_t*));
    if (owns_potentials)
      potentials = batch * plan.potential_entries() * int64_t(sizeof(float));
  }

  int64_t bytes(int threads) const {
    int64_t total = potentials + threads * (placement.tile_bytes + events + totals + scratch + at);
    for (int64_t slot : placement.slot_bytes)
      total += slot;
    return total;
  }
};

int64_t grown(const LineVector<uint8_t>& memory, int64_t bytes) {
  return std::max(int64_t(memory.size()), bytes);
}

// Its contents are lost. New memory is written to once, part by part.
void grow(LineVector<uint8_t>& memory, int64_t bytes, Watch& watch) {
  constexpr int64_t kAtOnce = 1 << 25;
  if (int64_t(memory.size()) >= bytes)
    return;
  memory = LineVector<uint8_t>();
  memory.reserve(size_t(bytes));
  while (int64_t(memory.size()) < bytes) {
    memory.resize(size_t(std::min(bytes, int64_t(memory.size()) + kAtOnce)));
    watch.go_on();
  }
}

} // namespace

int64_t workspace_bytes(const Plan& plan, int threads, int64_t batch, int64_t steps, bool is_static,
                        bool keeps_all, bool owns_potentials) {
  return Needs(plan, batch, steps, is_static, keeps_all, owns_potentials).bytes(threads);
}

bool Workspace::fits(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const {
  return placement.batch == batch && placement.steps == steps && placement.is_static == is_static &&
         placement.keeps_all == keeps_all;
}

void Workspace::fit(const Plan& plan, int thread_count, int64_t batch, int64_t steps, bool is_static,
                    bool keeps_all, bool owns_potentials, int64_t max_bytes, Watch& watch) {
  const bool is_placed = fits(batch, steps, is_static, keeps_all);
  const int64_t potential_bytes = batch * plan.potential_entries() * int64_t(sizeof(float));
  if (is_placed && (!owns_potentials || int64_t(own_potentials.size()) >= potential_bytes))
    return;
  placement.batch = 0; // no placement holds until this one is complete
  Needs needs(plan, batch, steps, is_static, keeps_all, owns_potentials);
  const std::vector<int64_t>& slot_bytes = needs.placement.slot_bytes;
  threads.resize(size_t(thread_count));
  slots.resize(std::max(slots.size(), slot_bytes.size()));
  int64_t total = grown(own_potentials, needs.potentials);
  for (size_t slot = 0; slot < slots.size(); ++slot)
    total += grown(slots[slot], slot < slot_bytes.size() ? slot_bytes[slot] : 0);
  for (const Thread& thread : threads)
    total += grown(thread.tile, needs.placement.tile_bytes) + grown(thread.events, needs.events) +
             grown(thread.totals, needs.totals) + grown(thread.scratch, needs.scratch) + needs.at;
  if (total > max_bytes) {
    slots = std::vector<LineVector<uint8_t>>(slot_bytes.size());
    threads = std::vector<Thread>(size_t(thread_count));
    own_potentials = LineVector<uint8_t>();
  }
  for (size_t slot = 0; slot < slot_bytes.size(); ++slot)
    grow(slots[slot], slot_bytes[slot], watch);
  potentials.resize(plan.program.stateful.size());
  for (Thread& thread : threads) {
    grow(thread.tile, needs.placement.tile_bytes, watch);
    grow(thread.events, needs.events, watch);
    grow(thread.totals, needs.totals, watch);
    grow(thread.scratch, needs.scratch, watch);
    thread.at.resize(plan.program.values.size());
    thread.adds_changes.resize(std::max<size_t>(thread.adds_changes.size(), size_t(steps)));
  }
  grow(own_potentials, needs.potentials, watch);
  placement = std::move(needs.placement);
}

int64_t Workspace::bytes() const {
  int64_t total = int64_t(own_potentials.size());
  for (const auto& slot : slots)
    total += int64_t(slot.size());
  for (const Thread& thread : threads)
    total += int64_t(thread.tile.size() + thread.events.size() + thread.totals.size() +
                     thread.scratch.size() + thread.at.size() * sizeof(const uint8_t*));
  return total;
}

void compute_rows(const Plan& plan, const Stage& stage, const Chunk& chunk, Workspace& workspace,
                  Watch& watch, int thread, int64_t first, int64_t last) {
  StageRows(plan, stage, chunk, workspace, watch, thread).compute(first, last);
}

} // namespace hdlif
