#include "../artefact/node_reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

// Its input says the shape alone.
void read(NodeReader& n, const Value&, Value& y) {
  n.node().source = n.value("source");
  n.set_states({"delayed"});
  y.max_code = n.integer("max_code", 0, kMaxCode);
  y.constant = false;
}

// What the state holds: of codes as codes. The session takes the source's value into it after the step.
void compute(RowContext& c, int32_t n) {
  const Value& out = c.type(n + 1);
  const int64_t count = int64_t(out.width) * out.channels;
  const float* state = c.potential_row(n);
  uint8_t* y = c.output_row(n + 1);
  if (out.max_code == 0)
    std::copy(state, state + count, floats(y));
  else
    codes_of_state(state, y, out);
}

} // namespace

void codes_of_state(const float* state, uint8_t* codes, const Value& type) {
  const int64_t count = int64_t(type.width) * type.channels;
  for (int64_t i = 0; i < count; ++i) // a state that a caller made may hold anything
    codes[i] = uint8_t(int32_t(state[i] > 0 ? std::min(state[i], float(type.max_code)) : 0.0f));
}

const OpForm kDelayForm = [] {
  OpForm form{};
  form.name = "delay";
  form.keys = {"max_code", "source"};
  form.widens = Widens::kNever;
  form.sparse = Sparse::kAlways;
  form.read = read;
  form.work = entry_work;
  form.compute = compute;
  return form;
}();

} // namespace hdlif
