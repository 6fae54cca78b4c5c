#include "combining.h"

#include <cmath>
#include <numeric>

namespace hdlif {
namespace {

class Combiner {
public:
  Combiner(const Equation& equation, const std::vector<int32_t*>& named)
      : equation_(equation), uses_(size_t(equation.registers()), 0), same_(size_t(equation.registers())) {
    std::iota(same_.begin(), same_.end(), 0);
    for (const Instruction& instruction : equation_.instructions)
      for (int32_t operand : instruction.operands)
        if (operand >= 0)
          ++uses_[size_t(operand)];
    ++uses_[size_t(equation_.result)];
    for (int32_t after : equation_.after)
      ++uses_[size_t(after)];
    for (const int32_t* reg : named)
      ++uses_[size_t(*reg)];
  }

  Equation combined(const std::vector<int32_t*>& named) {
    for (size_t i = 0; i < equation_.instructions.size(); ++i) {
      Instruction& instruction = equation_.instructions[i];
      for (int32_t& operand : instruction.operands)
        operand = operand < 0 ? -1 : same_[size_t(operand)];
      combine(equation_.first() + int32_t(i), instruction);
    }
    // omit operations that are now part of a later one, and operations without readers
    for (size_t i = equation_.instructions.size(); i-- > 0;)
      if (uses_[size_t(equation_.first()) + i] == 0)
        for (int32_t operand : equation_.instructions[i].operands)
          if (operand >= 0)
            --uses_[size_t(operand)];
    std::vector<int32_t> number(size_t(equation_.first()));
    std::iota(number.begin(), number.end(), 0);
    const auto renumbered = [&](int32_t which) { return number[size_t(same_[size_t(which)])]; };
    Equation written = equation_;
    written.instructions.clear();
    for (size_t i = 0; i < equation_.instructions.size(); ++i) {
      number.push_back(written.registers());
      if (uses_[size_t(equation_.first()) + i] == 0)
        continue;
      Instruction instruction = equation_.instructions[i];
      for (int32_t& operand : instruction.operands)
        operand = operand < 0 ? -1 : number[size_t(operand)];
      written.instructions.push_back(instruction);
    }
    written.result = renumbered(equation_.result);
    for (int32_t& after : written.after)
      after = renumbered(after);
    for (int32_t* reg : named)
      *reg = renumbered(*reg);
    return written;
  }

private:
  // As Equation::at(), but null if the register has more than one reader.
  const Instruction* inner(int32_t which, Operation operation) const {
    return which >= 0 && uses_[size_t(which)] == 1 ? equation_.at(which, operation) : nullptr;
  }

  // Replaces an instruction by `to`, and updates the numbers of readers.
  void replace(Instruction& instruction, const Instruction& to) {
    for (int32_t operand : to.operands)
      if (operand >= 0)
        ++uses_[size_t(operand)];
    for (int32_t operand : instruction.operands)
      if (operand >= 0)
        --uses_[size_t(operand)];
    instruction = to;
  }

  // Makes readers of register `which` read `other` instead.
  void stands_for(int32_t which, int32_t other) {
    same_[size_t(which)] = other;
    uses_[size_t(other)] += uses_[size_t(which)];
    uses_[size_t(which)] = 0;
  }

  void combine(int32_t self, Instruction& instruction) {
    const int32_t *operands = instruction.operands, a = operands[0], b = operands[1];
    switch (instruction.operation) {
    case Operation::kAdd:
      if (const Instruction* product = inner(a, Operation::kMultiply))
        return replace(instruction,
                       {Operation::kMultiplyAdd, {product->operands[0], product->operands[1], b}, 0});
      if (const Instruction* product = inner(b, Operation::kMultiply))
        replace(instruction, {Operation::kMultiplyAdd, {product->operands[0], product->operands[1], a}, 0});
      return;
    case Operation::kMaximum:
      if (const Instruction* zero = equation_.at(a, Operation::kConstant);
          zero != nullptr && zero->value == 0.0f && !std::signbit(zero->value)) {
        if (const Instruction* difference = inner(b, Operation::kSubtract))
          replace(instruction,
                  {Operation::kSurplus, {difference->operands[0], difference->operands[1], -1}, 0});
        else if (equation_.at(b, Operation::kSurplus) != nullptr) // already at least 0
          stands_for(self, b);
      }
      return;
    case Operation::kMinimum:
      if (const Instruction* largest = equation_.at(a, Operation::kConstant))
        if (const Instruction* floor = inner(b, Operation::kFloor))
          replace(instruction, {Operation::kFloorBelow, {floor->operands[0], -1, -1}, largest->value});
      return;
    default:
      return;
    }
  }

  Equation equation_;
  std::vector<int32_t> uses_; // number of readers of each register
  std::vector<int32_t> same_; // for each register, the register that replaces it
};

} // namespace

Equation combined(const Equation& equation, const std::vector<int32_t*>& named) {
  return Combiner(equation, named).combined(named);
}

} // namespace hdlif
