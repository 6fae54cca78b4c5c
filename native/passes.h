// Which nodes of a chain are computed in one pass over a row, and how.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "graph.h"
#include "recognition.h"

namespace hdlif {

struct Stage;
class RowContext;

// Nodes that follow each other in a chain and treat each entry by itself, as one equation.
struct Pass {
  struct Input {
    int32_t node;
    int which;
  };
  struct Kept {
    int32_t value, reg;
  };
  std::vector<int32_t> nodes;
  std::vector<Input> inputs;     // for each input of the equation, a node that reads it
  std::vector<const Rows*> rows; // of the nodes, which stay where they are
  int32_t first_state = -1;      // the node that has the states, or -1
  std::vector<Kept> kept;        // what a node before the last gives and others read too
  Equation equation;
  Fused fused;

  int64_t scratch_bytes() const;
  // An input that the pass may write one of its values over, entry by entry, and that value; or -1 and -1.
  std::pair<int32_t, int32_t> replaced(const Graph& graph) const;
  void compute(RowContext& rows) const;
};

// The passes of a graph. Only programs begin one; neighbours join it where that spares a way over the row:
// those that a kernel takes with the program, or, of a program that no kernel takes, all.
class Passes {
public:
  Passes(const Graph& graph, const std::vector<Stage>& stages, bool joins);

  // The pass that begins with a node, or null.
  const Pass* at(int32_t n) const { return first_[n] < 0 ? nullptr : &passes_[first_[n]]; }
  // Whether a pass that begins with another node computes this one.
  bool is_inner(int32_t n) const { return is_inner_[n]; }
  // Whether a value is never written: it lies between two nodes of a pass.
  bool is_spared(int32_t value) const { return is_spared_[value]; }
  const std::vector<Pass>& all() const { return passes_; }

private:
  std::vector<Pass> passes_;
  std::vector<int32_t> first_;
  std::vector<bool> is_inner_, is_spared_;
};

} // namespace hdlif
