#include <algorithm>

#include "../artefact/node_reader.h"
#include "layer.h"

namespace hdlif {
namespace {

// y = sum over (ky, kx, ci) of weight * x, ci in the group of the output channel.
void read(NodeReader& n, const Value& x, Value& y) {
  n.require(x.is_map, "conv2d takes a map");
  const std::vector<int64_t>& weight = n.shape("weight"); // [co, ci, ky, kx]
  n.require(weight.size() == 4, "weight must be [out, in, kh, kw]");
  n.require(std::min(weight[2], weight[3]) >= 1 && std::max(weight[2], weight[3]) < 1 << 15,
            "the kernel size must be in 1..32767");
  n.read_window(x, y, {int32_t(weight[2]), int32_t(weight[3])});
  const int32_t groups = n.node().groups = n.has("groups") ? n.integer("groups", 1, INT32_MAX) : 1;
  n.require(x.channels % groups == 0 && weight[0] % groups == 0,
            "groups must divide the input and output channels");
  n.read_weights(x, y);
}

} // namespace

const OpForm kConv2dForm = [] {
  OpForm form{};
  form.name = "conv2d";
  form.keys = {"encoding", "padding", "role", "stride"};
  form.optional_keys = {"dilation", "groups"};
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
