// A deployed network in memory; native/artefact reads it from a file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "ops/op.h"

namespace hdlif {

constexpr int32_t kMaxCode = 255;
constexpr int32_t kMaxNodes = 1 << 17;
constexpr int64_t kMaxElements = int64_t(1) << 30; // a coordinate with padding fits in an int32

// The type of a value: shape without time and batch. A vector [C] is a 1 x 1 map.
struct Value {
  int32_t channels;
  int32_t height;
  int32_t width;
  bool is_map;
  int32_t max_code; // 0: float32; otherwise uint8 codes in 0..max_code
  bool constant;    // the same at every step if the input is

  int64_t pixels() const { return int64_t(height) * width; }
  int64_t size() const { return pixels() * channels; }
  int64_t entry_bytes() const { return max_code > 0 ? 1 : int64_t(sizeof(float)); }
};

// Float32 [steps][columns]; `columns` is 1 or C. After the last step, the last row is used.
struct Rows {
  int32_t steps = 0;
  int32_t columns = 0;
  std::vector<float> data;

  const float* at(int64_t t) const { return data.data() + (t < steps ? t : steps - 1) * columns; }
};

struct Window {
  int32_t kernel_y = 1, kernel_x = 1;
  int32_t stride_y = 1, stride_x = 1;
  int32_t pad_y = 0, pad_x = 0;
  int32_t dilation_y = 1, dilation_x = 1; // distance between neighbouring taps

  int32_t reach_y() const { return (kernel_y - 1) * dilation_y + 1; } // rows from the first tap to the last
  int32_t reach_x() const { return (kernel_x - 1) * dilation_x + 1; }
};

// Operations on registers. The registers are, in order, the inputs, the states, the rows, and one per
// instruction. An instruction reads only registers below its own.
struct Equation {
  int32_t inputs = 1, rows = 0;
  std::vector<Instruction> instructions;
  int32_t result = 0;         // the register of the output; for a neuron, its spike
  std::vector<int32_t> after; // for each state, the register of its new value
  bool gives_codes = false;   // the operation of the result gives only 1 or 0

  int32_t states() const { return int32_t(after.size()); }
  int32_t first_row() const { return inputs + states(); }
  int32_t first() const { return first_row() + rows; } // the register of the first instruction
  int32_t registers() const { return first() + int32_t(instructions.size()); }

  // The instruction of a register if it has this operation, else null.
  const Instruction* at(int32_t which, Operation operation) const {
    if (which < first())
      return nullptr;
    const Instruction& found = instructions[size_t(which - first())];
    return found.operation == operation ? &found : nullptr;
  }
};

struct Node {
  Op op;
  std::array<int32_t, 2> inputs; // value indices; -1 if absent
  Window window;
  std::vector<Rows> rows; // its tensors except the weights; for a program, the rows of its equation
  int32_t groups = 1;     // for conv2d; ci counts the input channels within a group
  std::vector<int8_t> low_bit_weights;      // [ky][kx][ci][co], one byte each; empty for float32 weights
  std::vector<float> float_weights;         // [ky][kx][ci][co]
  int32_t max_weight = 1;                   // largest magnitude in the encoding of low_bit_weights
  int32_t first_channel = 0;                // for slice
  float offset = 0;                         // for quantise
  std::shared_ptr<const Equation> equation; // for program, with one input
  int32_t source = -1;                      // for delay
};

struct Graph {
  int32_t time_steps = 1;
  int32_t output = 0;
  std::vector<Value> values; // the input, then the output of each node
  std::vector<Node> nodes;
  std::vector<int32_t> stateful; // nodes with states, in ascending order; one entry per state
  std::vector<int32_t> delays;   // nodes of op delay; if there are any, steps run one after another
};

} // namespace hdlif
