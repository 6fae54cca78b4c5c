#include "../artefact/node_reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  n.require(x.is_map, "seca takes a map");
  const Rows& weight = n.read_rows("weight");
  n.require(weight.columns < 1 << 15 && weight.columns % 2 == 1,
            "weight must have an odd number of columns, below 32768");
  const bool is_constant = weight.steps == 1;
  y.constant = n.read_rows("bias", 1, false).steps == 1 && is_constant && x.constant;
}

RowWork work(const Node& node, const Value& in, const Value& out) {
  const double gates = out.channels * (node.rows[0].columns + 8 * kEntryWork);
  return {0, 3 * kEntryWork * double(in.size()) + gates, 0};
}

int64_t scratch(const Node&, const Value& out) {
  return 2 * int64_t(out.channels) * int64_t(sizeof(float));
}

void compute(RowContext& c, int32_t n) {
  const Node& node = c.graph.nodes[n];
  const Value& type = c.type(n + 1);
  const uint8_t* codes = c.in_slot(node.inputs[0], c.row, 0);
  const float* x = floats(codes);
  if (c.type(node.inputs[0]).max_code > 0) {
    float* widened = floats(c.memory.tile.data() + c.workspace.placement.widened[2 * n]);
    c.kernels.widen(codes, widened, type.size());
    x = widened;
  }
  c.kernels.seca(x, floats(c.in_slot(n + 1, c.row, 0)), row_at(node.rows[0], c.t()), *node.rows[1].at(c.t()),
                 type.pixels(), type.channels, floats(c.memory.scratch.data()));
}

} // namespace

const OpForm kSecaForm = [] {
  OpForm form{};
  form.name = "seca";
  form.roles = {"weight", "bias"};
  form.reach = Reach::kMap;
  form.read = read;
  form.work = work;
  form.compute = compute;
  form.scratch = scratch;
  return form;
}();

} // namespace hdlif
