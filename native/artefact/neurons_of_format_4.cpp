// The neurons that format 4 has as ops, as equations of the same operations, which give the same bits; the
// same table as in hdlif.artefact.neurons_of_format_4.
#include <vector>

#include "fields.h"
#include "node_record.h"

namespace hdlif {
namespace {

struct Line {
  Operation operation;
  std::vector<int32_t> operands;
  float value = 0;
};

EquationRecord equation(int32_t states, std::vector<std::string> rows, const std::vector<Line>& lines,
                        int32_t spike, std::vector<int32_t> after) {
  EquationRecord found;
  found.states = states;
  found.rows = std::move(rows);
  for (const Line& line : lines) {
    Instruction instruction{line.operation, {-1, -1, -1}, line.value};
    std::copy(line.operands.begin(), line.operands.end(), instruction.operands);
    found.instructions.emplace_back(instruction, int(line.operands.size()));
  }
  found.spike = spike;
  found.after = std::move(after);
  return found;
}

// Registers: 0 x, 1 v, 2 leak, 3 threshold, 5 the membrane, 6 what it is above the threshold; then `rest`.
std::vector<Line> membrane(std::vector<Line> rest) {
  std::vector<Line> lines{
      {Operation::kMultiply, {2, 1}}, {Operation::kAdd, {4, 0}}, {Operation::kSubtract, {5, 3}}};
  lines.insert(lines.end(), rest.begin(), rest.end());
  return lines;
}

const std::vector<std::string> kLeakAndThreshold{"leak", "threshold"};
const Line kZero{Operation::kConstant, {}};

EquationRecord lif(const NodeRecord& node) {
  const bool is_soft = word_of(node.where("reset"), node.attribute("reset"), {"hard", "soft"}) == "soft";
  const auto potential = float(float_of(node.where("reset_potential"), node.attribute("reset_potential")));
  if (is_soft)
    return equation(1, kLeakAndThreshold,
                    membrane({{Operation::kStep, {6}}, {Operation::kSelect, {7, 6, 5}}}), 7, {8});
  const std::vector<Line> rest{
      {Operation::kStep, {6}}, {Operation::kConstant, {}, potential}, {Operation::kSelect, {7, 8, 5}}};
  return equation(1, kLeakAndThreshold, membrane(rest), 7, {9});
}

// 0 x, 1 v, 2 h, 3 leak, 4 leak_after_spike, 5 gain, 6 shift, 7 shift_after_spike, 8 threshold
EquationRecord glif() {
  return equation(2, {"leak", "leak_after_spike", "gain", "shift", "shift_after_spike", "threshold"},
                  {{Operation::kSelect, {2, 4, 3}},
                   {Operation::kMultiply, {9, 1}},
                   {Operation::kMultiply, {5, 0}},
                   {Operation::kAdd, {10, 11}},
                   {Operation::kSelect, {2, 7, 6}},
                   {Operation::kAdd, {12, 13}},
                   {Operation::kGreaterEqual, {14, 8}}},
                  15, {14, 15});
}

} // namespace

bool lower_neuron_of_format_4(NodeRecord& node) {
  const std::string& op = node.op();
  if (op != "lif" && op != "hd_lif" && op != "parallel" && op != "graded_lif" && op != "glif")
    return false;
  if (op == "lif")
    node.check_attributes({"reset", "reset_potential"});
  else
    node.check_attributes({});
  node.set_states(op == "parallel" ? std::vector<std::string>{}
                  : op == "glif"   ? std::vector<std::string>{"potential", "fired"}
                                   : std::vector<std::string>{"potential"});
  const Line surplus{Operation::kMaximum, {7, 6}};
  if (op == "lif")
    node.set_equation(lif(node));
  else if (op == "hd_lif")
    node.set_equation(
        equation(1, kLeakAndThreshold, membrane({kZero, surplus, {Operation::kMinimum, {3, 5}}}), 8, {9}));
  else if (op == "graded_lif")
    node.set_equation(equation(
        1, kLeakAndThreshold,
        membrane({kZero, surplus, {Operation::kStep, {6}}, {Operation::kSelect, {9, 6, 5}}}), 8, {10}));
  else if (op == "parallel")
    node.set_equation(equation(
        0, {"threshold"}, {{Operation::kSubtract, {0, 1}}, kZero, {Operation::kMaximum, {3, 2}}}, 4, {}));
  else
    node.set_equation(glif());
  return true;
}

} // namespace hdlif
