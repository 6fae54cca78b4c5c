#include <algorithm>

#include "../artefact/equation.h"
#include "../composer.h"
#include "../recognition.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  Node& node = n.node();
  node.equation = read_equation(n, x.channels);
  y.max_code = node.equation->gives_codes ? 1 : 0;
  y.constant =
      x.constant && node.equation->states() == 0 &&
      std::all_of(node.rows.begin(), node.rows.end(), [](const Rows& rows) { return rows.steps == 1; });
}

RowWork work(const Node& node, const Value&, const Value& out) {
  std::vector<int32_t> columns;
  for (const Rows& rows : node.rows)
    columns.push_back(rows.columns);
  const Fused::Kernel kernel = recognise(*node.equation, columns, out.channels).kernel;
  const bool has_kernel = kernel != Fused::kNone && kernel != Fused::kFire;
  const double each = has_kernel ? 1.0 : double(1 + node.equation->registers());
  return {0, kEntryWork * out.width * out.channels * each, 0};
}

// Appends the instructions of the node's equation, with their registers renumbered.
int32_t compose(const Node& node, const Value&, const int32_t* inputs, Composer& composer) {
  const Equation& equation = *node.equation;
  std::vector<int32_t> names{inputs[0]};
  for (int32_t s = 0; s < equation.states(); ++s)
    names.push_back(composer.state());
  for (const Rows& rows : node.rows)
    names.push_back(composer.row(rows));
  for (Instruction instruction : equation.instructions) {
    for (int32_t& operand : instruction.operands)
      operand = operand < 0 || instruction.operation == Operation::kConstant ? -1 : names[size_t(operand)];
    names.push_back(composer.apply(instruction));
  }
  for (int32_t s = 0; s < equation.states(); ++s)
    composer.becomes(names[size_t(1 + s)], names[size_t(equation.after[size_t(s)])]);
  return names[size_t(equation.result)];
}

} // namespace

const OpForm kProgramForm = [] {
  OpForm form{};
  form.name = "program";
  form.keys = {"after", "kind", "operations", "rows", "spike", "states"};
  form.optional_keys = {"fires"};
  form.names_roles = true;
  form.sparse = Sparse::kAlways;
  form.read = read;
  form.work = work;
  form.compose = compose;
  return form;
}();

} // namespace hdlif
