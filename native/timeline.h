// How a graph whose values are single pixels, such as a network of a series, runs over many steps at once.
#pragma once

#include <cstdint>
#include <vector>

#include "graph.h"
#include "passes.h"

namespace hdlif {

struct Stage;
struct Layer;
struct Work;

// What a layer reads: `count` steps of one value, its own and those `dilation` apart before it, the latest
// first.
struct Taps {
  int32_t source = -1; // the value; -1: the node is no layer
  int32_t count = 1, dilation = 1;

  int32_t reach() const { return (count - 1) * dilation; }
};

// Steps of a value lie one behind the other, a row of frames. A layer that reads a value through delays and
// concatenations, as a convolution over time does, reads frames of that row where they lie, and is computed
// for all steps of a chunk at once, as a convolution of a row is for all pixels. Delays and concatenations
// are then not computed at all: the frames before a chunk's first one are what the delays hold. So are the
// neurons' equations, a layer's at a time.
//
// A graph has a timeline where all its values are single pixels, no layer has groups, and every delay is
// one of a chain behind a value that stands before it, read by layers alone. Others run with the delays as
// nodes.
struct Timeline {
  // The frame that a delay holds: of `value`, `lag` steps ago.
  struct Held {
    int32_t delay, value, lag;
  };

  Timeline() = default;
  Timeline(const Graph& graph, const std::vector<Layer>& layers, const std::vector<Work>& work,
           const std::vector<Stage>& stages, const Passes& passes);

  bool exists = false;
  std::vector<Stage> stages;    // those of the plan, without what is not computed
  std::vector<Taps> taps;       // of each node
  std::vector<bool> is_skipped; // of each node: it is not computed
  std::vector<bool> at_once;    // of each node: it, or the pass that it begins, takes all steps in one call
  std::vector<int32_t> history; // of each value: the frames before a chunk's first one that layers read
  std::vector<Held> held;

private:
  bool find_taps(const Graph& graph, const std::vector<Layer>& layers, const std::vector<Work>& work);
  bool find_skipped(const Graph& graph);
  bool find_held(const Graph& graph);
};

// Steps of a chunk, and the frames that a value with a history has room for beside it: where they are full,
// the history is moved to the front.
constexpr int64_t kTimeSteps = 32, kTimeRoom = 64;

} // namespace hdlif
