#include "../artefact/node_record.h"
#include "../reader.h"
#include "layer.h"

namespace hdlif {
namespace {

void lower(NodeRecord& n) {
  const std::vector<int64_t>& weight = n.shape("weight"); // [co, ci]
  n.require(weight.size() == 2, "weight must be [out, in]");
  n.set(kOutChannels, int32_t(weight[0]));
  n.set_weight(weight[1]);
}

// y = sum over ci of weight * x; a vector is a map of one pixel.
void infer(Reader& r, const Value& x, Value& y) {
  r.require(!x.is_map, "linear takes a vector");
  y.channels = r.read_weights(x);
}

} // namespace

const OpForm kLinearForm = [] {
  OpForm form{};
  form.name = "linear";
  form.keys = {"encoding", "role"};
  form.roles = {"weight"};
  form.tensors = 1;
  form.out_channels = true;
  form.multiplies = true;
  form.reach = Reach::kRows;
  form.widens = Widens::kNever;
  form.lower = lower;
  form.infer = infer;
  form.work = layer_work;
  form.compute = compute_layer;
  return form;
}();

} // namespace hdlif
