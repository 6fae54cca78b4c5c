#include "../reader.h"
#include "layer.h"

namespace hdlif {
namespace {

// y = sum over ci of weight * x; a vector is a map of one pixel.
void infer(Reader& r, const Value& x, Value& y) {
  r.require(!x.is_map, "linear takes a vector");
  y.channels = r.read_weights(x);
}

} // namespace

const OpForm kLinearForm = [] {
  OpForm form{};
  form.name = "linear";
  form.tensors = 1;
  form.out_channels = true;
  form.multiplies = true;
  form.reach = Reach::kRows;
  form.widens = Widens::kNever;
  form.infer = infer;
  form.work = layer_work;
  form.compute = compute_layer;
  return form;
}();

} // namespace hdlif
