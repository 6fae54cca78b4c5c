#include "recognition.h"

#include <cmath>

namespace hdlif {
namespace {

// The longest of these equations has 17 operations.
constexpr size_t kLongest = 17;

class Matcher {
public:
  Matcher(const Equation& equation, const std::vector<int32_t>& columns, int32_t channels)
      : equation_(equation), columns_(columns), channels_(channels) {}

  Fused parallel() const {
    Fused found;
    if (equation_.states() == 0 && surplus(equation_.result, found.current, found.threshold) &&
        is_input(found.current))
      found.kernel = Fused::kParallel;
    return found;
  }

  Fused hd_lif() const {
    Fused found;
    if (accumulates(equation_.result, found) && is_input(found.current))
      found.kernel = Fused::kHdLif;
    return found;
  }

  Fused fire() const {
    Fused found;
    int32_t spike = -1;
    if (quantised(equation_.result, spike, found) &&
        (equation_.states() == 0 ? surplus(spike, found.current, found.threshold)
                                 : accumulates(spike, found)) &&
        is_current(found.current, found))
      found.kernel = Fused::kFire;
    return found;
  }

  Fused lif() const {
    Fused found;
    const Instruction* fires = equation_.at(equation_.result, Operation::kStep);
    if (equation_.states() != 1 || fires == nullptr)
      return found;
    const int32_t above = fires->operands[0];
    const Instruction* difference = equation_.at(above, Operation::kSubtract);
    const Instruction* reset = equation_.at(equation_.after[0], Operation::kSelect);
    if (difference == nullptr || reset == nullptr)
      return found;
    const int32_t membrane = difference->operands[0], after = reset->operands[1];
    const Instruction* potential = equation_.at(after, Operation::kConstant);
    found.threshold = difference->operands[1];
    if (!is_row(found.threshold) || !is_membrane(membrane, found) || !is_input(found.current) ||
        reset->operands[0] != equation_.result || reset->operands[2] != membrane ||
        (after != above && potential == nullptr))
      return found;
    found.kernel = Fused::kLif;
    found.reset = {after != above, after != above ? potential->value : 0.0f};
    return found;
  }

private:
  // Return the other operand of an operation if one of its two operands fits, else -1.
  template <typename Fits> static int32_t beside(const Instruction* of, Fits fits) {
    if (of != nullptr && fits(of->operands[0]))
      return of->operands[1];
    return of != nullptr && fits(of->operands[1]) ? of->operands[0] : -1;
  }

  bool is_input(int32_t which) const { return which >= 0 && which < equation_.inputs; }
  bool is_row(int32_t which) const { return which >= equation_.first_row() && which < equation_.first(); }
  bool is_row_per_channel(int32_t which) const {
    return is_row(which) && columns_[size_t(which - equation_.first_row())] == channels_;
  }
  bool is_zero(int32_t which) const {
    const Instruction* constant = equation_.at(which, Operation::kConstant);
    return constant != nullptr && constant->value == 0.0f && !std::signbit(constant->value);
  }

  // max(0, x)
  int32_t positive(int32_t which) const {
    const Instruction* largest = equation_.at(which, Operation::kMaximum);
    return largest != nullptr && is_zero(largest->operands[0]) ? largest->operands[1] : -1;
  }

  // max(0, m - threshold)
  bool surplus(int32_t which, int32_t& membrane, int32_t& threshold) const {
    const Instruction* difference = equation_.at(positive(which), Operation::kSubtract);
    if (difference == nullptr)
      return false;
    membrane = difference->operands[0];
    threshold = difference->operands[1];
    return is_row(threshold);
  }

  // leak * v + current
  bool is_membrane(int32_t which, Fused& found) const {
    const Instruction* sum = equation_.at(which, Operation::kAdd);
    const int32_t potential = equation_.inputs;
    found.current = beside(sum, [&](int32_t operand) {
      found.leak =
          beside(equation_.at(operand, Operation::kMultiply), [&](int32_t v) { return v == potential; });
      return is_row(found.leak);
    });
    return found.current >= 0;
  }

  // Return whether a register is the surplus of a membrane potential m whose next value is min(m, threshold).
  bool accumulates(int32_t which, Fused& found) const {
    int32_t membrane = -1;
    if (equation_.states() != 1 || !surplus(which, membrane, found.threshold) ||
        !is_membrane(membrane, found))
      return false;
    const Instruction* least = equation_.at(equation_.after[0], Operation::kMinimum);
    return least != nullptr && least->operands[0] == found.threshold && least->operands[1] == membrane;
  }

  // min(largest, floor(max(0, spike) * inverse_step + offset))
  bool quantised(int32_t which, int32_t& spike, Fused& found) const {
    const Instruction* least = equation_.at(which, Operation::kMinimum);
    const Instruction* largest =
        least == nullptr ? nullptr : equation_.at(least->operands[0], Operation::kConstant);
    const Instruction* floor =
        largest == nullptr ? nullptr : equation_.at(least->operands[1], Operation::kFloor);
    const Instruction* sum = floor == nullptr ? nullptr : equation_.at(floor->operands[0], Operation::kAdd);
    if (sum == nullptr)
      return false;
    const Instruction* scaled = equation_.at(sum->operands[0], Operation::kMultiply);
    const Instruction* offset = equation_.at(sum->operands[1], Operation::kConstant);
    if (scaled == nullptr || offset == nullptr || !is_row(scaled->operands[1]))
      return false;
    found.largest = largest->value;
    found.offset = offset->value;
    found.inverse_step = scaled->operands[1];
    spike = positive(scaled->operands[0]);
    return spike >= 0;
  }

  // An input, or input * scale + shift.
  bool is_affine(int32_t which, Fused& found) const {
    if (is_input(which)) {
      found.x = which;
      return true;
    }
    found.shift = beside(equation_.at(which, Operation::kAdd), [&](int32_t operand) {
      found.scale = beside(equation_.at(operand, Operation::kMultiply), [&](int32_t x) {
        found.x = x;
        return is_input(x);
      });
      return is_row_per_channel(found.scale);
    });
    return is_row_per_channel(found.shift);
  }

  // Return whether a register is affine as above, or the sum of such a register and another input.
  bool is_current(int32_t which, Fused& found) const {
    if (is_affine(which, found))
      return true;
    Fused sum = found;
    sum.scale = sum.shift = -1;
    const Instruction* add = equation_.at(which, Operation::kAdd);
    for (int i = 0; add != nullptr && i < 2; ++i)
      if (is_input(add->operands[1 - i]) && is_affine(add->operands[i], sum)) {
        found = sum;
        found.addend = add->operands[1 - i];
        return true;
      }
    return false;
  }

  const Equation& equation_;
  const std::vector<int32_t>& columns_;
  const int32_t channels_;
};

} // namespace

const char* name_of(Fused::Kernel kernel) {
  switch (kernel) {
  case Fused::kHdLif:
    return "hd_lif";
  case Fused::kParallel:
    return "parallel";
  case Fused::kLif:
    return "lif";
  case Fused::kFire:
    return "fire";
  case Fused::kNone:
    break;
  }
  return "equation";
}

Fused recognise(const Equation& equation, const std::vector<int32_t>& columns, int32_t channels) {
  if (equation.instructions.size() > kLongest)
    return {};
  const Matcher matcher(equation, columns, channels);
  for (const Fused& found : {matcher.hd_lif(), matcher.parallel(), matcher.lif(), matcher.fire()})
    if (found.kernel != Fused::kNone)
      return found;
  return {};
}

} // namespace hdlif
