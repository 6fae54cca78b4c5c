#include "pool.h"

namespace hdlif {

RowWork pool_work(const Node& node, const Value&, const Value& out) {
  const double taps = double(node.window.kernel_y) * node.window.kernel_x;
  const double pixel = kEntryWork * out.channels * (1 + taps);
  return {pixel, out.width * pixel, pixel};
}

void compute_sum_pool(RowContext& c, int32_t n, const Window& window) {
  const bool from_codes = c.type(c.graph.nodes[n].inputs[0]).max_code > 0,
             to_codes = c.type(n + 1).max_code > 0;
  compute_pool(c, n, window, [&](const uint8_t* x, uint8_t* y, const PoolShape& part) {
    if (to_codes)
      c.kernels.sum_pool_codes(x, y, part, c.row);
    else if (from_codes)
      c.kernels.sum_pool_code_values(x, floats(y), part, c.row);
    else
      c.kernels.sum_pool(floats(x), floats(y), part, c.row);
  });
}

} // namespace hdlif
