#include "../artefact/node_reader.h"
#include "channels.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  const int32_t begin = n.integer("begin", 0, x.channels - 1);
  n.node().first_channel = begin;
  y.channels = n.integer("end", begin + 1, x.channels) - begin;
  y.max_code = x.max_code;
}

void compute(RowContext& c, int32_t n) {
  copy_channels(c, n, 0, c.graph.nodes[n].first_channel, 0);
}

} // namespace

const OpForm kSliceForm = [] {
  OpForm form{};
  form.name = "slice";
  form.keys = {"begin", "end"};
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kUnlessCodes;
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
