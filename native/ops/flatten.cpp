#include "../artefact/node_reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void read(NodeReader&, const Value& x, Value& y) {
  y.channels = int32_t(x.size());
  y.height = y.width = 1;
  y.is_map = false;
  y.max_code = x.max_code;
}

RowWork work(const Node&, const Value& in, const Value&) {
  return {0, kEntryWork * double(in.size()), 0};
}

// Writes channel-major order, whereas maps are [pixel][channel].
void compute(RowContext& c, int32_t n) {
  const int32_t input = c.graph.nodes[n].inputs[0];
  const Value& in = c.type(input);
  const uint8_t* x = c.in_slot(input, c.row, 0);
  uint8_t* y = c.in_slot(n + 1, c.row, 0);
  if (in.max_code > 0)
    transpose(x, y, in.pixels(), in.channels);
  else
    transpose(floats(x), floats(y), in.pixels(), in.channels);
}

} // namespace

const OpForm kFlattenForm = [] {
  OpForm form{};
  form.name = "flatten";
  form.reach = Reach::kMap;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.read = read;
  form.work = work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
