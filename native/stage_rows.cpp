#include "stage_rows.h"

#include <algorithm>
#include <utility>

#include "ops/layer.h"
#include "row_context.h"

namespace hdlif {
namespace {

// The placement and the memory of a workspace.
struct Needs {
  Placement placement;
  int64_t events = 0, totals = 0, scratch = 0, tiles = 0, at = 0,
          potentials = 0; // bytes per thread, except `potentials`, which is a total

  Needs(const Plan& plan, int64_t batch, int64_t steps, bool is_static, bool keeps_all, bool owns_potentials)
      : placement(place(plan, batch, steps, is_static, keeps_all)) {
    for (size_t n = 0; n < plan.graph.nodes.size(); ++n) {
      const Value& out = plan.graph.values[n + 1];
      const Node& node = plan.graph.nodes[n];
      const int64_t node_steps = is_static && out.constant ? 1 : steps;
      const OpForm& form = form_of(node.op);
      if (form.multiplies) {
        const Taps* taps = placement.in_time ? &plan.timeline.taps[n] : nullptr;
        events = std::max(events, event_bytes(plan.layers[n], taps, node_steps));
        if (kMayHaveTiles && taps == nullptr && plan.layers[n].tiles.depth > 0)
          tiles = std::max(tiles, TileGroup(plan.layers[n].shape, plan.layers[n].tiles, node_steps).bytes());
        totals = std::max(totals, int64_t(out.width) * (placement.in_time ? steps : 1) *
                                      plan.layers[n].form.lanes * int64_t(sizeof(int32_t)));
      }
      if (form.scratch != nullptr)
        scratch = std::max(scratch, form.scratch(node, out));
    }
    for (const Pass& pass : plan.passes(keeps_all).all())
      scratch = std::max(scratch, pass.scratch_bytes());
    at = int64_t(plan.graph.values.size() * sizeof(const uint8_t*));
    if (owns_potentials)
      potentials = batch * plan.potential_entries() * int64_t(sizeof(float));
  }

  int64_t bytes(int threads) const {
    int64_t total = potentials + threads * (placement.tile_bytes + events + totals + scratch + tiles + at);
    for (int64_t slot : placement.slot_bytes)
      total += slot;
    return total;
  }
};

int64_t grown(const LineVector<uint8_t>& memory, int64_t bytes) {
  return std::max(int64_t(memory.size()), bytes);
}

// Grows memory to at least this size; old contents are lost. New memory is initialised in parts, between
// checks of the watch.
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
  placement.batch = 0; // no placement is valid until this one is complete
  Needs needs(plan, batch, steps, is_static, keeps_all, owns_potentials);
  const std::vector<int64_t>& slot_bytes = needs.placement.slot_bytes;
  threads.resize(size_t(thread_count));
  slots.resize(std::max(slots.size(), slot_bytes.size()));
  int64_t total = grown(own_potentials, needs.potentials);
  for (size_t slot = 0; slot < slots.size(); ++slot)
    total += grown(slots[slot], slot < slot_bytes.size() ? slot_bytes[slot] : 0);
  for (const Thread& thread : threads)
    total += grown(thread.tile, needs.placement.tile_bytes) + grown(thread.events, needs.events) +
             grown(thread.totals, needs.totals) + grown(thread.scratch, needs.scratch) +
             grown(thread.tiles, needs.tiles) + needs.at;
  if (total > max_bytes) {
    slots = std::vector<LineVector<uint8_t>>(slot_bytes.size());
    threads = std::vector<Thread>(size_t(thread_count));
    own_potentials = LineVector<uint8_t>();
  }
  for (size_t slot = 0; slot < slot_bytes.size(); ++slot)
    grow(slots[slot], slot_bytes[slot], watch);
  potentials.resize(plan.graph.stateful.size());
  for (Thread& thread : threads) {
    grow(thread.tile, needs.placement.tile_bytes, watch);
    grow(thread.events, needs.events, watch);
    grow(thread.totals, needs.totals, watch);
    grow(thread.scratch, needs.scratch, watch);
    grow(thread.tiles, needs.tiles, watch);
    thread.at.resize(plan.graph.values.size());
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
                     thread.scratch.size() + thread.tiles.size() + thread.at.size() * sizeof(const uint8_t*));
  return total;
}

void compute_rows(const Plan& plan, const Stage& stage, const Chunk& chunk, Workspace& workspace,
                  Watch& watch, int thread, int64_t first, int64_t last) {
  RowContext rows(plan, stage, chunk, workspace, watch, thread);
  if (workspace.placement.in_time)
    rows.compute_in_time();
  else
    rows.compute(first, last);
}

} // namespace hdlif
