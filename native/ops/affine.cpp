#include <cstring>

#include "../artefact/node_reader.h"
#include "../composer.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  const bool is_constant = n.read_rows("scale", x.channels, false).steps == 1;
  y.constant = n.read_rows("shift", x.channels, false).steps == 1 && is_constant && x.constant;
}

bool is_identity(const RowContext& c, int32_t n) {
  const std::vector<bool>& rows = c.plan.identity_rows[n];
  return c.type(c.graph.nodes[n].inputs[0]).max_code == 0 &&
         rows[std::min<size_t>(size_t(c.t()), rows.size() - 1)];
}

// y = x * scale + shift, or x itself if this changes no bit.
void compute(RowContext& c, int32_t n) {
  const Node& node = c.graph.nodes[n];
  const Value& out = c.type(n + 1);
  if (is_identity(c, n)) {
    const uint8_t* x = c.input_row(node.inputs[0]);
    if (c.workspace.placement.slot[n + 1] >= 0)
      std::memcpy(c.output_row(n + 1), x, size_t(out.width * c.steps_at_once) * out.channels * sizeof(float));
    else
      c.memory.at[n + 1] = x;
    return;
  }
  const float* x = c.float_row(n, 0);
  c.kernels.affine(x, floats(c.output_row(n + 1)), node.rows[0].at(c.t()), node.rows[1].at(c.t()),
                   out.width * c.steps_at_once, out.channels);
}

int32_t compose(const Node& node, const Value&, const int32_t* inputs, Composer& composer) {
  const int32_t scaled = composer.apply(Operation::kMultiply, inputs[0], composer.row(node.rows[0]));
  return composer.apply(Operation::kAdd, scaled, composer.row(node.rows[1]));
}

} // namespace

const OpForm kAffineForm = [] {
  OpForm form{};
  form.name = "affine";
  form.roles = {"scale", "shift"};
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  form.compose = compose;
  return form;
}();

} // namespace hdlif
