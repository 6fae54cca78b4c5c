#include "../artefact/node_reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

// The input determines only the shape.
void read(NodeReader& n, const Value&, Value& y) {
  n.node().source = n.value("source");
  n.set_states({"delayed"});
  y.max_code = n.integer("max_code", 0, kMaxCode);
  y.constant = false;
}

// Outputs the state, as codes if the output has codes. The session copies the source's value into the state
// after the step.
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
  for (int64_t i = 0; i < count; ++i) // a state from a caller may contain any values
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
