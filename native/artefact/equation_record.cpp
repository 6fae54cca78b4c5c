#include "equation_record.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "utf8.h"

namespace hdlif {
namespace {

constexpr size_t kLongestName = 200;

struct OperationName {
  const char* name;
  int operands;
};
// In the order of `Operation`.
constexpr OperationName kOperations[] = {
    {"constant", 0},      {"add", 2},   {"subtract", 2}, {"multiply", 2}, {"negative", 1},
    {"absolute", 1},      {"floor", 1}, {"minimum", 2},  {"maximum", 2},  {"greater", 2},
    {"greater_equal", 2}, {"step", 1},  {"select", 3}};
static_assert(sizeof(kOperations) / sizeof(kOperations[0]) == size_t(Operation::kCount));

// Which operation an entry such as ["add", 0, 1] begins with.
Operation operation_of(const NodeRecord& node, const Json& entry) {
  bool is_first = true;
  std::string name;
  if (entry.is(JsonKind::kList))
    entry.entries([&](const Json& part) {
      if (is_first && part.is(JsonKind::kString))
        name = part.string();
      is_first = false;
    });
  for (size_t i = 0; i < size_t(Operation::kCount); ++i)
    if (name == kOperations[i].name)
      return Operation(i);
  refuse(node.where("operations"), entry, "[name of an operation, operand, ...]");
}

void append_instruction(const NodeRecord& node, const Json& entry, EquationRecord& equation) {
  const std::string where = node.where("operations");
  Instruction instruction{operation_of(node, entry), {-1, -1, -1}, 0};
  const int32_t self = equation.first() + int32_t(equation.instructions.size());
  const bool is_constant = instruction.operation == Operation::kConstant;
  const int operands = kOperations[size_t(instruction.operation)].operands;
  if (entry.count() != size_t(1 + (is_constant ? 1 : operands)))
    refuse(where, entry, "of as many operands as the operation takes");
  int place = -1;
  entry.entries([&](const Json& part) {
    if (place >= 0 && is_constant)
      instruction.value = float(float_of(where, part));
    else if (place >= 0)
      instruction.operands[place] = int32_t(integer_of(where, part, 0, self - 1));
    ++place;
  });
  equation.instructions.emplace_back(instruction, operands);
}

std::vector<std::string> names_of(const NodeRecord& node, const char* key, size_t most) {
  const Json value = node.attribute(key);
  check_list(node.where(key), value);
  std::vector<std::string> names;
  value.entries([&](const Json& entry) { names.push_back(string_of(node.where(key), entry)); });
  const bool fit = names.size() <= most &&
                   std::all_of(names.begin(), names.end(),
                               [](const std::string& name) { return is_printable_name(name, kLongestName); });
  if (!fit)
    refuse(node.where(key), value, "up to " + std::to_string(most) + " printable names");
  return names;
}

} // namespace

EquationRecord read_equation(NodeRecord& node) {
  const Json kind = node.attribute("kind"), operations = node.attribute("operations"),
             after = node.attribute("after");
  if (!is_printable_name(string_of(node.where("kind"), kind), kLongestName))
    refuse(node.where("kind"), kind, "a printable name");
  if (node.has("fires") && !node.attribute("fires").is(JsonKind::kBoolean))
    refuse(node.where("fires"), node.attribute("fires"), "true or false");
  const std::vector<std::string> states = names_of(node, "states", kMaxStates),
                                 rows = names_of(node, "rows", kMaxEquationRows);
  node.require(
      std::all_of(states.begin(), states.end(), [](const std::string& name) { return is_identifier(name); }),
      "a state's name is an identifier");
  std::set<std::string> names(states.begin(), states.end());
  names.insert(rows.begin(), rows.end());
  node.require(names.size() == states.size() + rows.size(), "names of states and rows stand twice");

  EquationRecord equation;
  equation.states = int32_t(states.size());
  for (size_t i = 0; i < rows.size(); ++i)
    equation.rows.push_back("row" + std::to_string(i));
  check_list(node.where("operations"), operations);
  if (operations.count() > size_t(kMaxInstructions))
    refuse(node.where("operations"), operations, "at most " + std::to_string(kMaxInstructions));
  operations.entries([&](const Json& entry) { append_instruction(node, entry, equation); });
  const int32_t last = equation.first() + int32_t(equation.instructions.size()) - 1;
  equation.spike = node.integer("spike", 0, last);
  check_list(node.where("after"), after);
  if (after.count() != states.size())
    refuse(node.where("after"), after, "a register for each state");
  after.entries([&](const Json& entry) {
    equation.after.push_back(int32_t(integer_of(node.where("after"), entry, 0, last)));
  });
  node.set_states(states);
  return equation;
}

} // namespace hdlif
