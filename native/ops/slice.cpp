#include "../artefact/node_record.h"
#include "../reader.h"
#include "channels.h"

namespace hdlif {
namespace {

void lower(NodeRecord& n) {
  const int32_t begin = n.integer("begin", 0, INT32_MAX - 1), end = n.integer("end", begin + 1, INT32_MAX);
  n.set(kChoice, begin);
  n.set(kOutChannels, end - begin);
}

void infer(Reader& r, const Value& x, Value& y) {
  const int32_t first = r.field(kChoice), count = r.field(kOutChannels);
  r.require(first >= 0 && first < x.channels && count >= 1 && count <= x.channels - first,
            "slice is beyond the channels");
  r.node().first_channel = first;
  y.channels = count;
  y.max_code = x.max_code;
}

void compute(RowContext& c, int32_t n) {
  copy_channels(c, n, 0, c.program.nodes[n].first_channel, 0);
}

} // namespace

const OpForm kSliceForm = [] {
  OpForm form{};
  form.name = "slice";
  form.keys = {"begin", "end"};
  form.out_channels = true;
  form.choice = true;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kUnlessCodes;
  form.lower = lower;
  form.infer = infer;
  form.work = entry_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
