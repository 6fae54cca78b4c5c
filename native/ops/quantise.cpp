#include <cfloat>

#include "../artefact/node_reader.h"
#include "../composer.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  const double bits = float_of(n.where("bits"), n.attribute("bits")),
               offset = float_of(n.where("offset"), n.attribute("offset"));
  n.require(bits >= 1 && bits <= 8 && bits == int32_t(bits), "bits must be an integer in 1..8");
  n.require(offset >= 0 && offset <= 1, "offset must be a number in 0..1");
  n.node().offset = float(offset);
  const Rows& inverse_steps = n.read_rows("inverse_step", x.channels, true);
  for (float inverse_step : inverse_steps.data)
    n.require(inverse_step >= FLT_MIN,
              "inverse_step must be a positive normal float32 number"); // or it would not be a normal number
  y.max_code = (1 << int32_t(bits)) - 1;
  y.constant = x.constant && inverse_steps.steps == 1;
}

// y = min(floor(max(x, 0) * inverse_step + offset), largest)
void compute(RowContext& c, int32_t n) {
  const Node& node = c.graph.nodes[n];
  const Value& out = c.type(n + 1);
  const float* x = c.float_row(n, 0);
  c.kernels.quantise(x, c.output_row(n + 1), row_at(node.rows[0], c.t()), node.offset, float(out.max_code),
                     out.width * c.steps_at_once, out.channels);
}

int32_t compose(const Node& node, const Value& out, const int32_t* inputs, Composer& composer) {
  const int32_t positive = composer.apply(Operation::kMaximum, composer.constant(0.0f), inputs[0]);
  const int32_t scaled = composer.apply(Operation::kMultiply, positive, composer.row(node.rows[0]));
  const int32_t raised = composer.apply(Operation::kAdd, scaled, composer.constant(node.offset));
  return composer.apply(Operation::kMinimum, composer.constant(float(out.max_code)),
                        composer.apply(Operation::kFloor, raised));
}

} // namespace

const OpForm kQuantiseForm = [] {
  OpForm form{};
  form.name = "quantise";
  form.keys = {"bits", "offset"};
  form.roles = {"inverse_step"};
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  form.compose = compose;
  return form;
}();

} // namespace hdlif
