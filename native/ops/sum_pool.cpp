#include "../artefact/node_record.h"
#include "../reader.h"
#include "pool.h"

namespace hdlif {
namespace {

void lower(NodeRecord& n) {
  n.set(kKernelY, n.pair("kernel", 1));
  n.set(kStrideY, n.pair("stride", 1));
}

void infer(Reader& r, const Value& x, Value& y) {
  r.require(x.is_map, "sum_pool takes a map");
  r.read_window(x, y);
  const Window& window = r.node().window;
  y.max_code = summed_code(x, int64_t(window.kernel_y) * window.kernel_x);
}

void compute(RowContext& c, int32_t n) {
  compute_sum_pool(c, n, c.program.nodes[n].window);
}

} // namespace

const OpForm kSumPoolForm = [] {
  OpForm form{};
  form.name = "sum_pool";
  form.keys = {"kernel", "stride"};
  form.kernel = true;
  form.reach = Reach::kRows;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.lower = lower;
  form.infer = infer;
  form.work = pool_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
