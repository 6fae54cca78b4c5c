#include <cstring>

#include "../artefact/node_reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  n.require(x.is_map, "upsample takes a map");
  const auto [down, across] = n.pair("factor", 1);
  n.require(x.size() <= kMaxElements / (int64_t(down) * across), "the output has more than 2^30 entries");
  n.node().window.kernel_y = down;
  n.node().window.kernel_x = across;
  y.height = x.height * down;
  y.width = x.width * across;
  y.max_code = x.max_code;
}

void compute(RowContext& c, int32_t n) {
  const Node& node = c.graph.nodes[n];
  const int32_t input = node.inputs[0];
  const Value &in = c.type(input), &out = c.type(n + 1);
  const auto pixel = size_t(in.channels * in.entry_bytes());
  const uint8_t* x = c.in_slot(input, c.row / out.height, c.row % out.height / node.window.kernel_y);
  uint8_t* y = c.output_row(n + 1);
  for (int32_t ix = 0; ix < in.width; ++ix, x += pixel)
    for (int32_t k = 0; k < node.window.kernel_x; ++k, y += pixel)
      std::memcpy(y, x, pixel);
}

} // namespace

// The factors are stored in the kernel fields of the window.
const OpForm kUpsampleForm = [] {
  OpForm form{};
  form.name = "upsample";
  form.keys = {"factor"};
  form.reach = Reach::kRows;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
