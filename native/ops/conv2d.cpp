#include "../artefact/node_record.h"
#include "../reader.h"
#include "layer.h"

namespace hdlif {
namespace {

void lower(NodeRecord& n) {
  const std::vector<int64_t>& weight = n.shape("weight"); // [co, ci, ky, kx]
  n.require(weight.size() == 4, "weight must be [out, in, kh, kw]");
  const int32_t groups = n.has("groups") ? n.integer("groups", 1, INT32_MAX) : 1;
  n.set(kOutChannels, int32_t(weight[0]));
  n.set(kKernelY, {int32_t(weight[2]), int32_t(weight[3])});
  n.set(kStrideY, n.pair("stride", 1));
  n.set(kPadY, n.pair("padding", 0));
  n.set(kDilationY, n.pair("dilation", 1, {1, 1}));
  n.set(kGroups, groups);
  n.set_weight(weight[1] * groups);
}

// y = sum over (ky, kx, ci) of weight * x, ci in the group of the output channel.
void infer(Reader& r, const Value& x, Value& y) {
  r.require(x.is_map, "conv2d takes a map");
  r.read_window(x, y);
  const int32_t groups = r.node().groups = r.field(kGroups), out = r.field(kOutChannels);
  r.require(groups >= 1 && x.channels % groups == 0 && out % groups == 0, "groups do not part the channels");
  y.channels = r.read_weights(x);
}

} // namespace

const OpForm kConv2dForm = [] {
  OpForm form{};
  form.name = "conv2d";
  form.keys = {"encoding", "padding", "role", "stride"};
  form.optional_keys = {"dilation", "groups"};
  form.roles = {"weight"};
  form.tensors = 1;
  form.out_channels = true;
  form.kernel = true;
  form.padding = true;
  form.dilation = true;
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
