// A deployed network that continues to learn, bit-identical to hdlif.runtime.reference_learning.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../session.h"
#include "deployed_gradients.h"

namespace hdlif {

// A trained tensor: the weights of a node, or one of its rows.
struct Trained {
  int32_t node;
  int32_t row;    // -1: the weights
  bool is_binary; // the weights are only -1 and 1
};

struct LearningRate {
  float rate, latent, momentum;
};

// Not thread-safe: one call at a time.
class Learner {
public:
  // needed: for each node, whether the gradient of its output is needed. Throws std::invalid_argument.
  Learner(Graph graph, std::vector<Trained> trained, std::vector<bool> needed, LearningRate rate, int threads,
          const Kernels& kernels);

  const Graph& graph() const { return graph_; }
  int64_t trained() const { return int64_t(parts_.size()); }
  bool is_latent(int64_t which) const { return !parts_[size_t(which)].latents.empty(); }
  bool has_velocities() const { return rate_.momentum > 0; }
  int64_t size(int64_t which) const { return parts_[size_t(which)].size; }

  // Runs one step of a batch, as `Session::run`; with targets, one class per sample, also adds its gradients.
  // Throws std::invalid_argument, without any change.
  void step(const float* x, int64_t batch, int64_t t, float* const* potentials, const int64_t* targets,
            float* logits, Watch& watch);
  // Updates the weights with the mean gradient; returns false, without a change, if one would not be finite.
  bool update();

  // Copies a tensor, its latents (as numbers) or its velocities, in the order of its file.
  void read(int64_t which, float* values, float* latents, float* velocities) const;
  void write(int64_t which, const float* values, const float* latents, const float* velocities);

private:
  // Everything is in the order of the file, except the sums, which are in the order of the node.
  struct Part {
    Trained place;
    int64_t size = 0;
    std::vector<float> sums, velocities, units;
    std::vector<int16_t> latents;
    std::vector<int64_t> order; // for weights: the place in the node of each entry in the file
  };

  float value(const Part& part, int64_t at) const;
  void set(const Part& part, int64_t at, float value);
  int fraction(const Part& part) const;
  int32_t largest(const Part& part) const { return graph_.nodes[size_t(part.place.node)].max_weight; }
  std::vector<float> moved(const Part& part, const std::vector<float>& velocities) const;
  float code(const Part& part, int32_t latent) const;
  void rebuild();

  Graph graph_;
  std::vector<Part> parts_;
  std::vector<bool> wanted_;                // for each value
  std::vector<std::vector<float>> weights_; // as in `StepGradients`, until the next update
  const LearningRate rate_;
  const int threads_;
  const Kernels& kernels_;
  std::unique_ptr<Session> session_;
  int64_t terms_ = 0; // samples of all steps with a target since the last update
};

} // namespace hdlif
