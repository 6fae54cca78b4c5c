#include "../reader.h"
#include "layer.h"

namespace hdlif {
namespace {

// y = sum over (ky, kx, ci) of weight * x.
void infer(Reader& r, const Value& x, Value& y) {
  r.require(x.is_map, "conv2d takes a map");
  r.read_window(x, y);
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
  form.multiplies = true;
  form.reach = Reach::kRows;
  form.widens = Widens::kNever;
  form.infer = infer;
  form.work = layer_work;
  form.compute = compute_layer;
  return form;
}();

} // namespace hdlif
