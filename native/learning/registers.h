// The registers of a neuron's equation and their gradients, for several neurons at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../graph.h"

namespace hdlif {

// The registers of several neurons, side by side, and their gradients.
class Registers {
public:
  static constexpr int64_t kMost = 256; // neurons
  int64_t count = 0;

  explicit Registers(int32_t registers)
      : values_(static_cast<size_t>(registers * kMost)), gradients_(values_.size()), has_(size_t(registers)) {
  }

  float* value(int32_t which) { return values_.data() + which * kMost; }
  const float* gradient(int32_t which) const { return gradients_.data() + which * kMost; }
  bool has(int32_t which) const { return has_[size_t(which)]; }
  void forget() { has_.assign(has_.size(), false); }

  // value = body(neuron)
  template <typename Body> void set(int32_t which, const Body& body) {
    float* own = value(which);
    for (int64_t i = 0; i < count; ++i)
      own[i] = body(i);
  }
  // gradient += body(neuron)
  template <typename Body> void add(int32_t which, const Body& body) {
    float* own = gradients_.data() + which * kMost;
    if (has(which))
      for (int64_t i = 0; i < count; ++i)
        own[i] += body(i);
    else
      for (int64_t i = 0; i < count; ++i)
        own[i] = body(i);
    has_[size_t(which)] = true;
  }

private:
  std::vector<float> values_, gradients_;
  std::vector<bool> has_;
};

// Computes the value of an operation, as defined in hdlif.graph.equations.program.
void run(const Instruction& one, int32_t which, Registers& r);
// Computes the gradients of its operands from the gradient of its register `which`.
void run_back(const Instruction& one, int32_t which, Registers& r);

} // namespace hdlif
