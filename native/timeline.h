// Runs many steps of a graph in one call if all its values are single pixels, as for a time series.
#pragma once

#include <cstdint>
#include <vector>

#include "graph.h"
#include "passes.h"

namespace hdlif {

struct Stage;
struct Layer;
struct Work;

// The input of a layer: `count` steps of one value, latest first: the current step and earlier ones,
// `dilation` apart.
struct Taps {
  int32_t source = -1; // the value; -1 if the node is not a layer
  int32_t count = 1, dilation = 1;

  int32_t reach() const { return (count - 1) * dilation; }
};

// The steps of a value are stored one after another, as a row of frames. A layer that reads a value through
// delays and concatenations, such as a convolution over time, reads these frames in place. It computes all
// steps of a chunk together, as a convolution computes all pixels of a row. Delays and concatenations are
// then not computed: the frames before a chunk's first one are the states of the delays. Equations of neurons
// are also computed for all steps together, one layer at a time.
//
// A graph has a timeline if all its values are single pixels, no layer has groups, and every delay is part of
// a chain after a value that precedes it and is read only by layers. Other graphs run with delays as nodes.
struct Timeline {
  // The frame that a delay stores: `value`, `lag` steps ago.
  struct Held {
    int32_t delay, value, lag;
  };

  Timeline() = default;
  Timeline(const Graph& graph, const std::vector<Layer>& layers, const std::vector<Work>& work,
           const std::vector<Stage>& stages, const Passes& passes);

  bool exists = false;
  std::vector<Stage> stages;    // the stages of the plan, without skipped nodes
  std::vector<Taps> taps;       // for each node
  std::vector<bool> is_skipped; // for each node: whether it is not computed
  std::vector<bool>
      at_once; // for each node: whether it, or the pass that it begins, computes all steps in one call
  std::vector<int32_t>
      history; // for each value: number of frames before a chunk's first one that layers read
  std::vector<Held> held;

private:
  bool find_taps(const Graph& graph, const std::vector<Layer>& layers, const std::vector<Work>& work);
  bool find_skipped(const Graph& graph);
  bool find_held(const Graph& graph);
};

// The steps of a chunk, and the number of frames that a value with a history can store after its history.
// When no more chunks fit, the history moves to the front.
constexpr int64_t kTimeSteps = 32, kTimeRoom = 64;

} // namespace hdlif
