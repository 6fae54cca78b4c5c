// Rows of a stage, on one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"
#include "placement.h"
#include "plan.h"

namespace hdlif {

// The working memory of one call.
struct Workspace {
  // Makes room for chunks of up to this size; keeps what it has.
  void fit(const Plan& plan, int threads, int64_t batch, int64_t steps, bool is_static, bool keeps_all);
  bool fits(int64_t batch, int64_t steps, bool is_static, bool keeps_all) const;
  int64_t bytes() const;

  struct Thread {
    LineVector<uint8_t> tile, events, totals, scratch;
    std::vector<const uint8_t*> at;    // of each value in the tile: its row at this step
    std::vector<uint8_t> adds_changes; // of each step: whether sums are those before and what changes add
  };

  Placement placement;
  std::vector<LineVector<uint8_t>> slots;
  std::vector<Thread> threads;
  std::vector<float*> potentials; // of the images that are computed
};

// Computes rows [first, last) of a stage, counted over the images, on thread `thread` of the workspace.
void compute_rows(const Plan& plan, const Stage& stage, const Chunk& chunk, Workspace& workspace, int thread,
                  int64_t first, int64_t last);

} // namespace hdlif
