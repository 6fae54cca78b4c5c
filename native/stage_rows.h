// Computes rows of a stage on one thread.
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
  // Allocates memory for chunks of this size, and for their potentials if `owns_potentials`. Keeps existing
  // memory, unless the total would exceed `max_bytes`. Throws `Interrupted`.
  void fit(const Plan& plan, int threads, int64_t batch, int64_t steps, bool is_static, bool keeps_all,
           bool owns_potentials, int64_t max_bytes, Watch& watch);
  bool fits(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const;
  int64_t bytes() const;

  struct Thread {
    LineVector<uint8_t> tile, events, totals, scratch, tiles;
    std::vector<const uint8_t*> at;    // for each value in the tile: its row at this step
    std::vector<uint8_t> adds_changes; // for each step: whether changes are added to the previous step's sums
  };

  Placement placement;
  std::vector<LineVector<uint8_t>> slots;
  std::vector<Thread> threads;
  LineVector<uint8_t> own_potentials;
  std::vector<float*> potentials; // of the current images
};

// Returns the number of frames in the slot of a value with a history before a chunk's first frame; else 0.
inline int64_t frames_before(const Plan& plan, const Workspace& workspace, const Chunk& chunk,
                             int32_t value) {
  if (!workspace.placement.in_time || plan.timeline.history[value] == 0)
    return 0;
  return plan.timeline.history[value] + chunk.place;
}

// Returns the size in bytes of a new workspace for such a chunk.
int64_t workspace_bytes(const Plan& plan, int threads, int64_t batch, int64_t steps, bool is_static,
                        bool keeps_all, bool owns_potentials);

// Computes rows [first, last) of a stage, counted over all images, with the memory of thread `thread`. Stops
// early if the watch has stopped; thread 0 is the caller and checks the watch.
void compute_rows(const Plan& plan, const Stage& stage, const Chunk& chunk, Workspace& workspace,
                  Watch& watch, int thread, int64_t first, int64_t last);

} // namespace hdlif
