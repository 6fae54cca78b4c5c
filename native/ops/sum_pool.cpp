#include "../reader.h"
#include "pool.h"

namespace hdlif {
namespace {

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
  form.kernel = true;
  form.reach = Reach::kRows;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.infer = infer;
  form.work = pool_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
