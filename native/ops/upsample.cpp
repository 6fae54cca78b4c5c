#include <cstring>

#include "../artefact/node_record.h"
#include "../reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void lower(NodeRecord& n) {
  n.set(kKernelY, n.pair("factor", 1));
}

void infer(Reader& r, const Value& x, Value& y) {
  r.require(x.is_map, "upsample takes a map");
  const int64_t down = r.field(kKernelY), across = r.field(kKernelX);
  r.require(down >= 1 && down < (1 << 15) && across >= 1 && across < (1 << 15), "factor is out of range");
  r.require(r.field(kStrideY) == 0 && r.field(kStrideX) == 0, "a field that the op does not use is set");
  r.require(x.size() <= kMaxElements / (down * across), "output has too many entries");
  r.node().window.kernel_y = int32_t(down);
  r.node().window.kernel_x = int32_t(across);
  y.height = int32_t(x.height * down);
  y.width = int32_t(x.width * across);
  y.max_code = x.max_code;
}

void compute(RowContext& c, int32_t n) {
  const Node& node = c.program.nodes[n];
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

// Its factors stand in the fields of a kernel.
const OpForm kUpsampleForm = [] {
  OpForm form{};
  form.name = "upsample";
  form.keys = {"factor"};
  form.kernel = true;
  form.reach = Reach::kRows;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kNever;
  form.lower = lower;
  form.infer = infer;
  form.work = entry_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
