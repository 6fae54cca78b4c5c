// The context of one stage row on one thread: what the ops read and write.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "plan.h"
#include "stage_rows.h"

namespace hdlif {

inline Row row_at(const Rows& rows, int64_t t) {
  return {rows.at(t), rows.columns};
}

// Computes rows of one stage on one thread.
class RowContext {
public:
  RowContext(const Plan& plan, const Stage& stage, const Chunk& chunk, Workspace& workspace, Watch& watch,
             int thread)
      : plan(plan), graph(plan.graph), kernels(plan.kernels), stage(stage), chunk(chunk),
        passes(plan.passes(workspace.placement.keeps_all)), workspace(workspace),
        memory(workspace.threads[thread]), watch_(watch), is_caller_(thread == 0) {}

  // Computes rows [first, last), where row = image * height + oy; fewer if the run must stop.
  void compute(int64_t first, int64_t last) {
    const int64_t steps = plan.leading(stage, chunk);
    end = last;
    for (row = first; row < last; ++row) {
      for (step = 0; step < steps; ++step) {
        if (stage.root >= 0 && is_due(stage.root)) {
          form_of(graph.nodes[stage.root].op).compute(*this, stage.root);
          if (stops || !goes_on_after(plan.work[stage.root].row))
            return;
        }
        for (int32_t n : stage.chain)
          if (is_due(n)) {
            if (const Pass* pass = passes.at(n); pass != nullptr)
              pass->compute(*this);
            else if (!passes.is_inner(n))
              form_of(graph.nodes[n].op).compute(*this, n);
            if (!goes_on_after(plan.work[n].row))
              return;
          }
      }
      is_gathered = stage.root >= 0 && (row + 1) % graph.values[stage.root + 1].height != 0;
    }
  }

  // Computes all steps of the only row, one node at a time; see Timeline.
  void compute_in_time() {
    row = 0;
    const auto each_step = [&](int32_t n, const auto& body) {
      const bool together = n == stage.root || plan.timeline.at_once[n];
      steps_at_once = together ? chunk.steps : 1;
      for (step = 0; step < chunk.steps && !stops; step += steps_at_once) {
        body();
        stops = stops || !goes_on_after(plan.work[n].row * double(steps_at_once));
      }
    };
    if (stage.root >= 0)
      each_step(stage.root, [&] { form_of(graph.nodes[stage.root].op).compute(*this, stage.root); });
    for (int32_t n : stage.chain)
      if (const Pass* pass = passes.at(n); pass != nullptr)
        each_step(n, [&] { pass->compute(*this); });
      else if (!passes.is_inner(n))
        each_step(n, [&] { form_of(graph.nodes[n].op).compute(*this, n); });
  }

  // Checks the watch if enough work has been done since the last check. Returns whether to continue.
  bool goes_on_after(double work) {
    constexpr double kBetweenLooks = 1 << 20;
    unwatched_ += work;
    if (unwatched_ < kBetweenLooks)
      return true;
    unwatched_ = 0;
    return is_caller_ ? watch_.look() : !watch_.stopped();
  }

  // Calls kernel(first, part) for an output row of the root, in parts if the row is long; `part` is the shape
  // of a part that begins at pixel `first`.
  template <typename Shape, typename Kernel> void in_pixel_parts(const Shape& whole, const Kernel& kernel) {
    constexpr double kLongest = 1 << 25;
    const double pixel = plan.work[stage.root].pixel;
    const auto most = int32_t(std::clamp(kLongest / pixel, 1.0, double(whole.out_width)));
    Shape part = whole;
    for (int32_t first = 0; first < whole.out_width && !stops; first += part.out_width) {
      part.out_width = std::min(most, whole.out_width - first);
      part.pad_x = whole.pad_x - first * whole.stride_x;
      kernel(first, part);
      if (most < whole.out_width)
        stops = !goes_on_after(part.out_width * pixel);
    }
  }

  bool is_due(int32_t n) const { return step == 0 || plan.leading(n + 1, chunk) > 1; }

  // Returns the address of row `y` of `image` in a value's slot, at this step.
  uint8_t* in_slot(int32_t value, int64_t image, int64_t y) const {
    const Value& type = graph.values[value];
    const int64_t at = (plan.leading(value, chunk) > 1 ? step : 0) + frames_before(value);
    const int64_t first = ((at * chunk.batch + image) * type.height + y) * type.width * type.channels;
    return workspace.slots[workspace.placement.slot[value]].data() + first * type.entry_bytes();
  }

  // Returns the number of frames in a value's slot before this chunk's first frame; 0 without a history.
  int64_t frames_before(int32_t value) const { return hdlif::frames_before(plan, workspace, chunk, value); }

  // Returns the address where this row of a value is to be written.
  uint8_t* output_row(int32_t value) {
    const int32_t height = graph.values[value].height;
    uint8_t* to = workspace.placement.slot[value] >= 0 ? in_slot(value, row / height, row % height)
                                                       : memory.tile.data() + workspace.placement.tile[value];
    memory.at[value] = to;
    return to;
  }

  const uint8_t* input_row(int32_t value) const {
    if (workspace.placement.slot[value] < 0)
      return memory.at[value];
    const int32_t height = graph.values[value].height;
    return in_slot(value, row / height, row % height);
  }

  // Input row `i` of node `n`, as float32.
  const float* float_row(int32_t n, int i) {
    const int32_t value = graph.nodes[n].inputs[i];
    const Value& type = graph.values[value];
    const uint8_t* from = input_row(value);
    if (type.max_code == 0)
      return floats(from);
    float* widened = floats(memory.tile.data() + workspace.placement.widened[2 * n + i]);
    kernels.widen(from, widened, int64_t(type.width) * type.channels);
    return widened;
  }

  float* potential_row(int32_t n) const {
    const int32_t which = plan.potential_of[n];
    const Value& type = graph.values[n + 1];
    return which < 0 ? nullptr : chunk.potentials[which] + row * type.width * type.channels;
  }

  int64_t t() const { return chunk.t + step; } // the number of the time step
  const Value& type(int32_t value) const { return graph.values[value]; }

  // Returns the distance in bytes from one step of a value to the next.
  int64_t frame_bytes(int32_t value) const {
    return chunk.batch * graph.values[value].size() * graph.values[value].entry_bytes();
  }

  int32_t input_of_root() const { return graph.nodes[stage.root].inputs[0]; }
  int64_t image_of_root() const { return row / graph.values[stage.root + 1].height; }

  const Plan& plan;
  const Graph& graph;
  const Kernels& kernels;
  const Stage& stage;
  const Chunk& chunk;
  const Passes& passes;
  Workspace& workspace;
  Workspace::Thread& memory;
  int64_t steps_at_once = 1;              // steps that a node computes per call, in time
  int64_t row = 0, step = 0;              // row = image * height + oy
  int64_t end = 0;                        // end of the range of rows
  std::optional<TileGroup> tiles;         // set if the root is computed with tiles
  bool is_chosen = false;                 // whether tiles have been chosen or rejected
  int64_t tiles_first = 0, tiles_end = 0; // rows whose sums are ready
  bool stops = false;                     // the run must stop within a row
  bool is_gathered = false;               // the events of the row above are available

private:
  Watch& watch_;
  bool is_caller_;
  double unwatched_ = 0; // work since the last check
};

} // namespace hdlif
