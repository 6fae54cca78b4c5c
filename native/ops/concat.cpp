#include "../artefact/node_reader.h"
#include "channels.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  const Value& other = n.other();
  n.require(x.height == other.height && x.width == other.width && x.is_map == other.is_map,
            "concat takes inputs whose shapes differ only in channels");
  n.require(other.channels <= kMaxElements - x.channels, "the output has more than 2^30 entries");
  y.channels = x.channels + other.channels;
  if (x.max_code > 0 && other.max_code > 0)
    y.max_code = std::max(x.max_code, other.max_code);
  y.constant = x.constant && other.constant;
}

void compute(RowContext& c, int32_t n) {
  copy_channels(c, n, 0, 0, 0);
  copy_channels(c, n, 1, 0, c.type(c.graph.nodes[n].inputs[0]).channels);
}

} // namespace

const OpForm kConcatForm = [] {
  OpForm form{};
  form.name = "concat";
  form.inputs = 2;
  form.sparse = Sparse::kAsInputs;
  form.widens = Widens::kUnlessCodes;
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
