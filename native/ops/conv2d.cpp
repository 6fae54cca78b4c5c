#include "../reader.h"
#include "layer.h"

namespace hdlif {
namespace {

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
  form.tensors = 1;
  form.out_channels = true;
  form.kernel = true;
  form.padding = true;
  form.dilation = true;
  form.multiplies = true;
  form.reach = Reach::kRows;
  form.widens = Widens::kNever;
  form.infer = infer;
  form.work = layer_work;
  form.compute = compute_layer;
  return form;
}();

} // namespace hdlif
