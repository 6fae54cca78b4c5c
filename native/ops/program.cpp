#include "../reader.h"
#include "../row_context.h"

namespace hdlif {
namespace {

void infer(Reader& r, const Value& x, Value& y) {
  r.node().equation = r.read_equation(x.channels);
  const Equation& equation = *r.node().equation;
  y.max_code = equation.emits_codes ? 1 : 0;
  y.constant = x.constant && equation.states() == 0 &&
               std::all_of(equation.rows.begin(), equation.rows.end(),
                           [](const Rows& rows) { return rows.steps == 1; });
}

RowWork work(const Node& node, const Value&, const Value& out) {
  const bool is_fused = node.equation->fused.kernel != Fused::kNone;
  const double each = is_fused ? 1.0 : double(1 + node.equation->registers());
  return {0, kEntryWork * out.width * out.channels * each, 0};
}

int64_t scratch(const Node& node, const Value&) {
  if (node.equation->fused.kernel != Fused::kNone)
    return 0;
  return node.equation->registers() * kEquationBlock * int64_t(sizeof(float));
}

// By the kernel that it has.
void compute_fused(RowContext& c, int32_t n, const float* x, uint8_t* codes) {
  const Equation& equation = *c.program.nodes[n].equation;
  const Fused& fused = equation.fused;
  const Value& out = c.type(n + 1);
  const Row threshold = row_at(equation.rows[fused.threshold], c.t());
  if (fused.kernel == Fused::kParallel)
    return c.kernels.parallel(x, floats(codes), threshold, out.width, out.channels);
  const Row leak = row_at(equation.rows[fused.leak], c.t());
  float* potential = c.potential_row(n);
  if (fused.kernel == Fused::kHdLif)
    c.kernels.hd_lif(x, potential, floats(codes), leak, threshold, out.width, out.channels);
  else
    c.kernels.lif(x, potential, codes, leak, threshold, fused.reset, out.width, out.channels);
}

void compute(RowContext& c, int32_t n) {
  const Equation& equation = *c.program.nodes[n].equation;
  const Value& out = c.type(n + 1);
  const float* x = c.float_row(n, 0);
  uint8_t* codes = c.output_row(n + 1);
  if (equation.fused.kernel != Fused::kNone)
    return compute_fused(c, n, x, codes);
  Row rows[kMaxEquationRows];
  for (size_t i = 0; i < equation.rows.size(); ++i)
    rows[i] = row_at(equation.rows[i], c.t());
  float* states[kMaxStates];
  for (int32_t s = 0; s < equation.states(); ++s)
    states[s] = c.chunk.potentials[c.plan.potential_of[n] + s] + c.row * out.width * out.channels;
  const EquationStep step{rows,
                          equation.instructions.data(),
                          equation.after.data(),
                          int32_t(equation.rows.size()),
                          int32_t(equation.instructions.size()),
                          equation.states(),
                          equation.spike};
  const bool is_code = out.max_code > 0;
  c.kernels.equation(x, states, is_code ? nullptr : floats(codes), is_code ? codes : nullptr, step,
                     floats(c.memory.scratch.data()), out.width, out.channels);
}

} // namespace

const OpForm kProgramForm = [] {
  OpForm form{};
  form.name = "program";
  form.choice = true;
  form.sparse = Sparse::kAlways;
  form.infer = infer;
  form.work = work;
  form.compute = compute;
  form.scratch = scratch;
  return form;
}();

} // namespace hdlif
