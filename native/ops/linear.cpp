#include "../artefact/node_reader.h"
#include "layer.h"

namespace hdlif {
namespace {

// y = sum over ci of weight * x; a vector is a map of one pixel.
void read(NodeReader& n, const Value& x, Value& y) {
  n.require(!x.is_map, "linear takes a vector");
  n.require(n.shape("weight").size() == 2, "weight must be [out, in]");
  n.read_weights(x, y);
}

} // namespace

const OpForm kLinearForm = [] {
  OpForm form{};
  form.name = "linear";
  form.keys = {"encoding", "role"};
  form.roles = {"weight"};
  form.multiplies = true;
  form.reach = Reach::kRows;
  form.widens = Widens::kNever;
  form.read = read;
  form.work = layer_work;
  form.compute = compute_layer;
  return form;
}();

} // namespace hdlif
