#include "../artefact/node_reader.h"
#include "pool.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  n.require(x.is_map, "sum_pool takes a map");
  n.read_window(x, y, n.pair("kernel", 1));
  const Window& window = n.node().window;
  y.max_code = summed_code(x, int64_t(window.kernel_y) * window.kernel_x);
}

void compute(RowContext& c, int32_t n) {
  compute_sum_pool(c, n, c.graph.nodes[n].window);
}

} // namespace

const OpForm kSumPoolForm = [] {
  OpForm form{};
  form.name = "sum_pool";
  form.keys = {"kernel", "stride"};
  form.reach = Reach::kRows;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.read = read;
  form.work = pool_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
