// Groups the nodes of a chain that are computed in one pass over a row.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "graph.h"
#include "recognition.h"

namespace hdlif {

struct Stage;
class RowContext;

// Consecutive elementwise nodes of a chain, as one equation.
struct Pass {
  struct Input {
    int32_t node;
    int which;
  };
  struct Kept {
    int32_t value, reg;
  };
  std::vector<int32_t> nodes;
  std::vector<Input> inputs;     // for each input of the equation, a node and the number of its input
  std::vector<const Rows*> rows; // of the nodes; pointers into the graph
  int32_t first_state = -1;      // the node that has the states, or -1
  std::vector<Kept> kept;        // outputs of earlier nodes that have other readers too
  Equation equation;
  Fused fused;

  int64_t scratch_bytes() const;
  // Returns an input that the pass may overwrite, entry by entry, with one of its values, and that value; or
  // -1 and -1.
  std::pair<int32_t, int32_t> replaced(const Graph& graph) const;
  void compute(RowContext& rows) const;
};

// The passes of a graph. Each pass contains one program. If a kernel computes the program, neighbours join
// the pass only if a kernel computes them together with it; otherwise, all neighbours that can be composed
// join.
class Passes {
public:
  Passes(const Graph& graph, const std::vector<Stage>& stages, bool joins);

  // The pass that begins with a node, or null.
  const Pass* at(int32_t n) const { return first_[n] < 0 ? nullptr : &passes_[first_[n]]; }
  // Returns whether a pass that begins with another node computes this one.
  bool is_inner(int32_t n) const { return is_inner_[n]; }
  // Returns whether a value is never written, because only its own pass reads it.
  bool is_spared(int32_t value) const { return is_spared_[value]; }
  const std::vector<Pass>& all() const { return passes_; }

private:
  std::vector<Pass> passes_;
  std::vector<int32_t> first_;
  std::vector<bool> is_inner_, is_spared_;
};

} // namespace hdlif
