#include "../artefact/node_reader.h"
#include "pool.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  n.require(x.is_map, "max_pool takes a map");
  n.read_window(x, y, n.pair("kernel", 1));
  y.max_code = x.max_code;
}

void compute(RowContext& c, int32_t n) {
  const Node& node = c.graph.nodes[n];
  const bool is_codes = c.type(n + 1).max_code > 0;
  compute_pool(c, n, node.window, [&](const uint8_t* x, uint8_t* y, const PoolShape& part) {
    if (is_codes)
      c.kernels.max_pool_codes(x, y, part, c.row);
    else
      c.kernels.max_pool(floats(x), floats(y), part, c.row);
  });
}

} // namespace

const OpForm kMaxPoolForm = [] {
  OpForm form{};
  form.name = "max_pool";
  form.keys = {"kernel", "padding", "stride"};
  form.reach = Reach::kRows;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.read = read;
  form.work = pool_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
