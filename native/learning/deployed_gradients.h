// Gradients of one step of a deployed network: the oracle is the `backward` of each op in hdlif.graph.ops,
// whose order of sums is kept here.
#pragma once

#include <cstdint>
#include <vector>

#include "../graph.h"

namespace hdlif {

// A step that has run, and what flows back through it. Maps are [batch][C][H][W], codes as floats.
struct StepGradients {
  const Graph& graph;
  int64_t batch, t;
  std::vector<std::vector<float>> values;     // of each value of the graph
  std::vector<std::vector<float>> potentials; // before the step, of graph.stateful, [batch][H][W][C]
  std::vector<std::vector<float>> gradients;  // of each value; empty where nothing has come to it
  const std::vector<bool>& wanted;            // of each value: whether its gradient is needed
  std::vector<std::vector<float>>& weights;   // of nodes, [tap][co][ci in its group]; empty until wanted

  // Adds to the gradient of a value the `amount`, [batch][C][H][W], or takes it as the first.
  void give(int32_t value, std::vector<float> amount);
};

// Where the gradients of a node's tensors are summed: [ky][kx][ci][co] of weights, the row of the step of
// others; null where nobody wants one.
struct TensorSums {
  float* weight = nullptr;
  std::vector<float*> rows;
};

// Gives the gradients of node n's inputs that are wanted, and adds those of its tensors, sample by sample.
void backward(StepGradients& step, int32_t n, const TensorSums& sums);

} // namespace hdlif
