#include "../reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void infer(Reader& r, const Value& x, Value& y) {
  r.require(x.is_map, "seca takes a map");
  r.require(r.columns(0) >= 1 && r.columns(0) < (1 << 15) && r.columns(0) % 2 == 1, "kernel is not odd");
  r.require(r.columns(1) == 1, "bias has more than one column");
  r.read_rows(0);
  r.read_rows(1);
  y.constant = x.constant && r.node().rows[0].steps == 1 && r.node().rows[1].steps == 1;
}

RowWork work(const Node& node, const Value& in, const Value& out) {
  const double gates = out.channels * (node.rows[0].columns + 8 * kEntryWork);
  return {0, 3 * kEntryWork * double(in.size()) + gates, 0};
}

int64_t scratch(const Node&, const Value& out) {
  return 2 * int64_t(out.channels) * int64_t(sizeof(float));
}

void compute(RowContext& c, int32_t n) {
  const Node& node = c.program.nodes[n];
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
  form.tensors = 2;
  form.reach = Reach::kMap;
  form.infer = infer;
  form.work = work;
  form.compute = compute;
  form.scratch = scratch;
  return form;
}();

} // namespace hdlif
