// Rows of a stage, on one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"
#include "placement.h"
#include "plan.h"
#include "watch.h"

namespace hdlif {

// The working memory of one call.
struct Workspace {
  // Makes room for chunks of up to this size; keeps what it has, unless the whole would pass `max_bytes`.
  // Where `owns_potentials`, there is room for those too. Throws `Interrupted`.
  void fit(const Plan& plan, int threads, int64_t batch, int64_t steps, bool is_static, bool keeps_all,
           bool owns_potentials, int64_t max_bytes, Watch& watch);
  bool fits(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const;
  int64_t bytes() const;

  struct Thread {
    LineVector<uint8_t> tile, events, totals, scratch, tiles;
    std::vector<const uint8_t*> at;    // of each value in the tile: its row at this step
    std::vector<uint8_t> adds_changes; // of each step: whether sums are those before and what changes add
  };

  Placement placement;
  std::vector<LineVector<uint8_t>> slots;
  std::vector<Thread> threads;
  LineVector<uint8_t> own_potentials;
  std::vector<float*> potentials; // of the images that are computed
};

// Of a value with a history: the frames of its slot before a chunk's first.
inline int64_t frames_before(const Plan& plan, const Workspace& workspace, const Chunk& chunk,
                             int32_t value) {
  if (!workspace.placement.in_time || plan.timeline.history[value] == 0)
    return 0;
  return plan.timeline.history[value] + chunk.place;
}

// What a workspace that is made for such a chunk takes.
int64_t workspace_bytes(const Plan& plan, int threads, int64_t batch, int64_t steps, bool is_static,
                        bool keeps_all, bool owns_potentials);

// Computes rows [first, last) of a stage, counted over the images, on thread `thread` of the workspace;
// leaves off where the watch says so, at which thread 0, the calling one, looks.
void compute_rows(const Plan& plan, const Stage& stage, const Chunk& chunk, Workspace& workspace,
                  Watch& watch, int thread, int64_t first, int64_t last);

} // namespace hdlif
