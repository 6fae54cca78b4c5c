#include "../artefact/node_reader.h"
#include "pool.h"

namespace hdlif {
namespace {

void read(NodeReader& n, const Value& x, Value& y) {
  n.require(x.is_map, "global_sum_pool takes a map");
  y.height = y.width = 1;
  y.is_map = false;
  y.max_code = summed_code(x, x.pixels());
}

RowWork work(const Node&, const Value& in, const Value&) {
  const double all = kEntryWork * double(in.size());
  return {all, all, 0};
}

void compute(RowContext& c, int32_t n) {
  const Value& in = c.type(c.graph.nodes[n].inputs[0]);
  Window window;
  window.kernel_y = in.height;
  window.kernel_x = in.width;
  compute_sum_pool(c, n, window);
}

} // namespace

const OpForm kGlobalSumPoolForm = [] {
  OpForm form{};
  form.name = "global_sum_pool";
  form.reach = Reach::kRows;
  form.widens = Widens::kNever;
  form.read = read;
  form.work = work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
