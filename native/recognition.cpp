#include "recognition.h"

namespace hdlif {
namespace {

class Matcher {
public:
  explicit Matcher(const Equation& equation) : equation_(equation) {}

  Fused parallel() const {
    int32_t x, threshold;
    Fused found;
    if (equation_.states() == 0 && surplus(equation_.spike, x, threshold) && x == 0 &&
        is_row(threshold, found.threshold))
      found.kernel = Fused::kParallel;
    return found;
  }

  Fused hd_lif() const {
    int32_t membrane, threshold;
    Fused found;
    if (equation_.states() == 1 && surplus(equation_.spike, membrane, threshold) &&
        is(equation_.after[0], Operation::kMinimum, threshold, membrane) &&
        is_row(threshold, found.threshold) && is_membrane(membrane, found.leak))
      found.kernel = Fused::kHdLif;
    return found;
  }

  Fused lif() const {
    Fused found;
    const Instruction* fires = at(equation_.spike, Operation::kStep);
    if (equation_.states() != 1 || fires == nullptr)
      return found;
    const int32_t above = fires->operands[0];
    const Instruction* difference = at(above, Operation::kSubtract);
    const Instruction* reset = at(equation_.after[0], Operation::kSelect);
    if (difference == nullptr || reset == nullptr)
      return found;
    const int32_t membrane = difference->operands[0], after = reset->operands[1];
    const Instruction* potential = at(after, Operation::kConstant);
    if (!is_row(difference->operands[1], found.threshold) || !is_membrane(membrane, found.leak) ||
        reset->operands[0] != equation_.spike || reset->operands[2] != membrane ||
        (after != above && potential == nullptr))
      return found;
    found.kernel = Fused::kLif;
    found.reset = {after != above, after != above ? potential->value : 0.0f};
    return found;
  }

private:
  const Instruction* at(int32_t which, Operation operation) const {
    if (which < equation_.first())
      return nullptr;
    const Instruction& found = equation_.instructions[size_t(which - equation_.first())];
    return found.operation == operation ? &found : nullptr;
  }

  bool is(int32_t which, Operation operation, int32_t a, int32_t b) const {
    const Instruction* found = at(which, operation);
    return found != nullptr && found->operands[0] == a && found->operands[1] == b;
  }

  bool is_row(int32_t which, int32_t& row) const {
    row = which - 1 - equation_.states();
    return row >= 0 && which < equation_.first();
  }

  // max(0, m - threshold)
  bool surplus(int32_t which, int32_t& membrane, int32_t& threshold) const {
    const Instruction* largest = at(which, Operation::kMaximum);
    if (largest == nullptr)
      return false;
    const Instruction* zero = at(largest->operands[0], Operation::kConstant);
    const Instruction* difference = at(largest->operands[1], Operation::kSubtract);
    if (zero == nullptr || zero->value != 0.0f || difference == nullptr)
      return false;
    membrane = difference->operands[0];
    threshold = difference->operands[1];
    return true;
  }

  // leak * v + x
  bool is_membrane(int32_t which, int32_t& leak) const {
    const Instruction* sum = at(which, Operation::kAdd);
    if (sum == nullptr)
      return false;
    for (int i = 0; i < 2; ++i) {
      const Instruction* product = at(sum->operands[i], Operation::kMultiply);
      if (product == nullptr || sum->operands[1 - i] != 0)
        continue;
      for (int k = 0; k < 2; ++k)
        if (product->operands[1 - k] == 1 && is_row(product->operands[k], leak))
          return true;
    }
    return false;
  }

  const Equation& equation_;
};

} // namespace

Fused recognise(const Equation& equation) {
  const Matcher matcher(equation);
  for (const Fused& found : {matcher.hd_lif(), matcher.parallel(), matcher.lif()})
    if (found.kernel != Fused::kNone)
      return found;
  return {};
}

} // namespace hdlif
