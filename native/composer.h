// Writes the equation of several ops as one.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "graph.h"

namespace hdlif {

// Registers are numbered by kind once all are known. Until then, an op refers to a register by the name that
// these functions return.
class Composer {
public:
  int32_t input() { return take(Kind::kInput, inputs_++); }
  // Stores a pointer to the rows, which must outlive the composer.
  int32_t row(const Rows& rows) {
    rows_.push_back(&rows);
    return take(Kind::kRow, int32_t(rows_.size()) - 1);
  }
  int32_t state() {
    after_.push_back(-1);
    return take(Kind::kState, int32_t(after_.size()) - 1);
  }
  void becomes(int32_t state, int32_t after) { after_[size_t(names_[size_t(state)].index)] = after; }
  int32_t constant(float value) { return apply({Operation::kConstant, {-1, -1, -1}, value}); }
  int32_t apply(Operation operation, int32_t a, int32_t b = -1, int32_t c = -1) {
    return apply({operation, {a, b, c}, 0.0f});
  }
  int32_t apply(const Instruction& instruction) {
    instructions_.push_back(instruction);
    return take(Kind::kInstruction, int32_t(instructions_.size()) - 1);
  }

  // Return the composed equation, and the register of a name in it.
  Equation equation(int32_t result) const {
    Equation written;
    written.inputs = inputs_;
    written.rows = int32_t(rows_.size());
    written.after.resize(after_.size()); // the register numbers depend on the number of states
    written.instructions = instructions_;
    for (Instruction& instruction : written.instructions)
      for (int32_t& operand : instruction.operands)
        operand = operand < 0 ? -1 : register_of(operand, written);
    for (size_t s = 0; s < after_.size(); ++s)
      written.after[s] = register_of(after_[s], written);
    written.result = register_of(result, written);
    return written;
  }
  int32_t register_of(int32_t name, const Equation& written) const {
    const auto [kind, index] = names_[size_t(name)];
    switch (kind) {
    case Kind::kInput:
      return index;
    case Kind::kState:
      return written.inputs + index;
    case Kind::kRow:
      return written.first_row() + index;
    case Kind::kInstruction:
      return written.first() + index;
    }
    return -1;
  }
  const std::vector<const Rows*>& rows() const { return rows_; }

private:
  enum class Kind { kInput, kState, kRow, kInstruction };
  struct Name {
    Kind kind;
    int32_t index;
  };

  int32_t take(Kind kind, int32_t index) {
    names_.push_back({kind, index});
    return int32_t(names_.size()) - 1;
  }

  std::vector<Name> names_;
  int32_t inputs_ = 0;
  std::vector<const Rows*> rows_;
  std::vector<int32_t> after_; // for each state, the name of its new value
  std::vector<Instruction> instructions_;
};

} // namespace hdlif
