#include "channels.h"

#include <algorithm>
#include <cstring>

namespace hdlif {

void copy_channels(RowContext& c, int32_t n, int input, int32_t first_channel, int32_t to_channel) {
  const Node& node = c.graph.nodes[n];
  const Value &in = c.type(node.inputs[input]), &out = c.type(n + 1);
  const int64_t entry = out.entry_bytes(), to_pixel = out.channels * entry, from_pixel = in.channels * entry;
  const uint8_t* from = out.max_code > 0 ? c.input_row(node.inputs[input])
                                         : reinterpret_cast<const uint8_t*>(c.float_row(n, input));
  from += first_channel * entry;
  uint8_t* to = c.output_row(n + 1) + to_channel * entry;
  const int64_t bytes = std::min(from_pixel, to_pixel);
  for (int64_t p = 0; p < out.width; ++p)
    std::memcpy(to + p * to_pixel, from + p * from_pixel, size_t(bytes));
}

} // namespace hdlif
