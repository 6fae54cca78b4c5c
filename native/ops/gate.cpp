#include "../artefact/node_reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  const Value& a = n.other();
  n.require(x.channels % a.channels == 0,
            "gate takes a number of gate channels that divides the input channels");
  n.require(a.pixels() == 1 || (a.height == x.height && a.width == x.width),
            "gate takes one gate per pixel or one per channel");
  y.max_code = x.max_code;
  y.constant = x.constant && a.constant;
}

// y[p][c] = x[p][c] if the gate of its group at its pixel is above 0 (NaN is not), else 0. Gates shared by
// all pixels are read again at each pixel.
template <typename X, typename A>
void gate_row(const X* x, const A* a, X* y, int64_t pixels, int64_t groups, int64_t per_group,
              int64_t next_gates) {
  for (int64_t p = 0; p < pixels; ++p, a += next_gates)
    for (int64_t g = 0; g < groups; ++g, x += per_group, y += per_group) {
      const bool is_open = a[g] > 0;
      for (int64_t c = 0; c < per_group; ++c)
        y[c] = is_open ? x[c] : X(0);
    }
}

void compute(RowContext& c, int32_t n) {
  const Node& node = c.graph.nodes[n];
  const Value &in = c.type(node.inputs[0]), &gates = c.type(node.inputs[1]), &out = c.type(n + 1);
  const bool is_shared = gates.pixels() == 1;
  const int64_t image = c.row / out.height, line = c.row % out.height;
  const uint8_t *x = c.in_slot(node.inputs[0], image, line),
                *a = c.in_slot(node.inputs[1], image, is_shared ? 0 : line);
  uint8_t* y = c.output_row(n + 1);
  const auto row = [&](const auto* x, const auto* a, auto* y) {
    gate_row(x, a, y, in.width, gates.channels, in.channels / gates.channels, is_shared ? 0 : gates.channels);
  };
  const auto with_gates = [&](const auto* x, auto* y) {
    gates.max_code > 0 ? row(x, a, y) : row(x, floats(a), y);
  };
  in.max_code > 0 ? with_gates(x, y) : with_gates(floats(x), floats(y));
}

} // namespace

// A gate per channel is known only after all rows of its map, so a new stage begins here.
const OpForm kGateForm = [] {
  OpForm form{};
  form.name = "gate";
  form.inputs = 2;
  form.reach = Reach::kRows;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
