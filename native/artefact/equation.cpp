#include "equation.h"

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

// Return the operation at the beginning of an entry such as ["add", 0, 1].
Operation operation_of(const NodeReader& node, const Json& entry) {
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
  refuse(node.where("operations"), entry, "[operation name, operand, ...]");
}

Instruction instruction_of(const NodeReader& node, const Json& entry, int32_t self) {
  const std::string where = node.where("operations");
  Instruction instruction{operation_of(node, entry), {-1, -1, -1}, 0};
  const bool is_constant = instruction.operation == Operation::kConstant;
  const int operands = kOperations[size_t(instruction.operation)].operands;
  if (entry.count() != size_t(1 + (is_constant ? 1 : operands)))
    refuse(where, entry, "an operation with the right number of operands");
  int place = -1;
  entry.entries([&](const Json& part) {
    if (place >= 0 && is_constant)
      instruction.value = float(float_of(where, part));
    else if (place >= 0)
      instruction.operands[place] = int32_t(integer_of(where, part, 0, self - 1));
    ++place;
  });
  return instruction;
}

// Return whether an instruction can only give 1 or 0; `is_code` holds the same for earlier registers.
bool gives_codes(const Instruction& instruction, const std::vector<bool>& is_code) {
  const auto of = [&](int i) { return bool(is_code[size_t(instruction.operands[i])]); };
  switch (instruction.operation) {
  case Operation::kGreater:
  case Operation::kGreaterEqual:
  case Operation::kStep:
    return true;
  case Operation::kConstant:
    return instruction.value == 0.0f || instruction.value == 1.0f;
  case Operation::kMultiply:
    return of(0) && of(1);
  case Operation::kSelect:
    return of(1) && of(2);
  default:
    return false;
  }
}

std::vector<std::string> names_of(const NodeReader& node, const char* key, size_t most) {
  const Json value = node.attribute(key);
  check_list(node.where(key), value);
  std::vector<std::string> names;
  value.entries([&](const Json& entry) { names.push_back(string_of(node.where(key), entry)); });
  const bool fit = names.size() <= most &&
                   std::all_of(names.begin(), names.end(),
                               [](const std::string& name) { return is_printable_name(name, kLongestName); });
  if (!fit)
    refuse(node.where(key), value, "a list of at most " + std::to_string(most) + " printable names");
  return names;
}

// Checks the names of the states and rows, which are not used here otherwise.
void check_names(NodeReader& node, const std::vector<std::string>& states,
                 const std::vector<std::string>& rows) {
  const Json kind = node.attribute("kind");
  if (!is_printable_name(string_of(node.where("kind"), kind), kLongestName))
    refuse(node.where("kind"), kind, "a printable name");
  if (node.has("fires") && !node.attribute("fires").is(JsonKind::kBoolean))
    refuse(node.where("fires"), node.attribute("fires"), "true or false");
  node.require(
      std::all_of(states.begin(), states.end(), [](const std::string& name) { return is_identifier(name); }),
      "a state's name is not an identifier");
  std::set<std::string> names(states.begin(), states.end());
  names.insert(rows.begin(), rows.end());
  node.require(names.size() == states.size() + rows.size(), "two states or rows have the same name");
}

} // namespace

std::shared_ptr<const Equation> read_equation(NodeReader& node, int32_t channels) {
  const std::vector<std::string> states = names_of(node, "states", kMaxStates),
                                 rows = names_of(node, "rows", kMaxEquationRows);
  check_names(node, states, rows);
  std::vector<std::string> roles;
  for (size_t i = 0; i < rows.size(); ++i)
    roles.push_back("row" + std::to_string(i));
  node.check_roles(roles);
  for (const std::string& role : roles)
    node.read_rows(role, channels, true);

  auto equation = std::make_shared<Equation>();
  equation->rows = int32_t(rows.size());
  // the register numbers of operations depend on the number of states
  equation->after.resize(states.size());
  std::vector<bool> is_code(size_t(equation->first()), false);
  const Json operations = node.attribute("operations"), after = node.attribute("after");
  check_list(node.where("operations"), operations);
  if (operations.count() > size_t(kMaxInstructions))
    refuse(node.where("operations"), operations,
           "a list of at most " + std::to_string(kMaxInstructions) + " operations");
  operations.entries([&](const Json& entry) {
    const Instruction instruction = instruction_of(node, entry, equation->registers());
    is_code.push_back(gives_codes(instruction, is_code));
    equation->instructions.push_back(instruction);
  });
  const int32_t last = equation->registers() - 1;
  equation->result = node.integer("spike", 0, last);
  equation->gives_codes = is_code[size_t(equation->result)];
  check_list(node.where("after"), after);
  if (after.count() != states.size())
    refuse(node.where("after"), after, "a list with one register per state");
  size_t state = 0;
  after.entries([&](const Json& entry) {
    equation->after[state++] = int32_t(integer_of(node.where("after"), entry, 0, last));
  });
  node.set_states(states);
  return equation;
}

} // namespace hdlif
