// Gradients of one step of a deployed network. The reference is the `backward` of each op in hdlif.graph.ops;
// this code sums in the same order.
#pragma once

#include <cstdint>
#include <vector>

#include "../graph.h"

namespace hdlif {

// A completed step and its gradients. Maps are [batch][C][H][W], codes as floats.
struct StepGradients {
  const Graph& graph;
  int64_t batch, t;
  std::vector<std::vector<float>> values;     // for each value of the graph
  std::vector<std::vector<float>> potentials; // before the step, for graph.stateful, [batch][H][W][C]
  std::vector<std::vector<float>> gradients;  // for each value; empty until a gradient is added
  const std::vector<bool>& wanted;            // for each value: whether its gradient is needed
  std::vector<std::vector<float>>& weights;   // for each node, [tap][co][ci in its group]; empty until needed

  // Adds `amount`, [batch][C][H][W], to the gradient of a value, or sets it if there is none.
  void give(int32_t value, std::vector<float> amount);
};

// Sums of the gradients of a node's tensors: [ky][kx][ci][co] for weights, the current step's row for others;
// null if not needed.
struct TensorSums {
  float* weight = nullptr;
  std::vector<float*> rows;
};

// Computes the wanted gradients of node n's inputs and adds those of its tensors, sample by sample.
void backward(StepGradients& step, int32_t n, const TensorSums& sums);

} // namespace hdlif
