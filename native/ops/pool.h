// Code shared by the pools.
#pragma once

#include "../row_context.h"
#include "op.h"

namespace hdlif {

RowWork pool_work(const Node& node, const Value& in, const Value& out);

// Calls kernel(x, y, part) for a row of a pool with this window; splits long rows into parts.
template <typename Kernel>
void compute_pool(RowContext& c, int32_t n, const Window& w, const Kernel& kernel) {
  const Value &in = c.type(c.graph.nodes[n].inputs[0]), &out = c.type(n + 1);
  const PoolShape whole{in.height,  in.width,   in.channels, out.height, out.width, w.kernel_y,
                        w.kernel_x, w.stride_y, w.stride_x,  w.pad_y,    w.pad_x};
  const uint8_t* x = c.in_slot(c.graph.nodes[n].inputs[0], 0, 0);
  uint8_t* y = c.output_row(n + 1);
  c.in_pixel_parts(whole, [&](int32_t first, const PoolShape& part) {
    kernel(x, y + int64_t(first) * out.channels * out.entry_bytes(), part);
  });
}

// Computes the sum of the entries under a window.
void compute_sum_pool(RowContext& c, int32_t n, const Window& window);

} // namespace hdlif
