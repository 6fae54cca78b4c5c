#include "../artefact/node_reader.h"
#include "../composer.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  const Value& other = n.other();
  n.require(x.channels == other.channels && x.height == other.height && x.width == other.width &&
                x.is_map == other.is_map,
            "add takes inputs of equal shape");
  y.constant = x.constant && other.constant;
}

void compute(RowContext& c, int32_t n) {
  const Value& out = c.type(n + 1);
  const float* x = c.float_row(n, 0);
  float* z = floats(c.output_row(n + 1));
  c.kernels.add(x, c.float_row(n, 1), z, int64_t(out.width) * out.channels);
}

int32_t compose(const Node&, const Value&, const int32_t* inputs, Composer& composer) {
  return composer.apply(Operation::kAdd, inputs[0], inputs[1]);
}

} // namespace

const OpForm kAddForm = [] {
  OpForm form{};
  form.name = "add";
  form.inputs = 2;
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  form.compose = compose;
  return form;
}();

} // namespace hdlif
