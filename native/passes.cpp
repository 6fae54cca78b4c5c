#include "passes.h"

#include <algorithm>
#include <optional>

#include "combining.h"
#include "composer.h"
#include "row_context.h"

namespace hdlif {
namespace {

// The largest number of neighbours before and after a program. They add at most kMoreRows rows and
// kMoreInstructions instructions, and keep the inputs within kMaxInputs.
constexpr size_t kBefore = 3, kBehind = 2;

// Returns the number of readers of each value: nodes, delays, and the caller for the output.
std::vector<int32_t> readers_of(const Graph& graph) {
  std::vector<int32_t> readers(graph.values.size(), 0);
  ++readers[graph.output];
  for (int32_t n : graph.delays)
    ++readers[graph.nodes[n].source];
  for (const Node& node : graph.nodes)
    for (int32_t input : node.inputs)
      if (input >= 0)
        ++readers[input];
  return readers;
}

class Finder {
public:
  explicit Finder(const Graph& graph) : graph_(graph), readers_(readers_of(graph)) {}

  // Returns the pass of the program at `place` of a chain; the first `taken` nodes belong to earlier passes.
  Pass find(const std::vector<int32_t>& chain, size_t place, size_t taken, bool joins) const {
    Pass alone = composed(chain, place, place);
    if (!joins)
      return alone;
    size_t first = place, last = place;
    const auto is_program = [&](int32_t n) { return graph_.nodes[n].equation != nullptr; };
    while (first > taken && place - first < kBefore && !is_program(chain[first - 1]) &&
           follows(chain[first - 1], chain[first]))
      --first;
    while (last + 1 < chain.size() && last - place < kBehind && !is_program(chain[last + 1]) &&
           follows(chain[last], chain[last + 1]))
      ++last;
    if (alone.fused.kernel == Fused::kNone)
      return composed(chain, first, last);
    for (size_t from = first; from <= place; ++from)
      for (size_t to = last; to > place; --to)
        if (Pass joined = composed(chain, from, to); joined.fused.kernel != Fused::kNone)
          return joined;
    return alone;
  }

private:
  bool takes_codes(int32_t n) const {
    const auto& inputs = graph_.nodes[n].inputs;
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](int32_t input) { return input >= 0 && graph_.values[input].max_code > 0; });
  }

  // Returns whether one pass can compute a node of a chain and the next: both read floats at the same steps.
  bool follows(int32_t before, int32_t n) const {
    const auto& inputs = graph_.nodes[n].inputs;
    const auto joins = [&](int32_t m) {
      return form_of(graph_.nodes[m].op).compose != nullptr && !takes_codes(m);
    };
    return joins(before) && joins(n) && std::find(inputs.begin(), inputs.end(), before + 1) != inputs.end() &&
           graph_.values[before + 1].constant == graph_.values[n + 1].constant;
  }

  Pass composed(const std::vector<int32_t>& chain, size_t from, size_t to) const {
    Pass pass;
    Composer composer;
    std::vector<std::pair<int32_t, int32_t>> names; // value and its name in the composer
    for (size_t i = from; i <= to; ++i) {
      const int32_t n = chain[i];
      const Node& node = graph_.nodes[n];
      int32_t inputs[2] = {-1, -1};
      for (int k = 0; k < 2 && node.inputs[k] >= 0; ++k) {
        const int32_t value = node.inputs[k];
        auto known =
            std::find_if(names.begin(), names.end(), [&](const auto& name) { return name.first == value; });
        if (known == names.end()) {
          pass.inputs.push_back({n, k});
          names.emplace_back(value, composer.input());
          known = names.end() - 1;
        }
        inputs[k] = known->second;
      }
      if (node.equation != nullptr && node.equation->states() > 0)
        pass.first_state = n;
      names.emplace_back(n + 1, form_of(node.op).compose(node, graph_.values[n + 1], inputs, composer));
      pass.nodes.push_back(n);
    }
    pass.equation = composer.equation(names.back().second);
    pass.rows = composer.rows();
    for (const auto& [value, name] : names)
      if (value > 0 && value != chain[to] + 1 && readers_[value] > 1 && is_output_of(pass.nodes, value))
        pass.kept.push_back({value, composer.register_of(name, pass.equation)});
    std::vector<int32_t> columns;
    for (const Rows* rows : pass.rows)
      columns.push_back(rows->columns);
    const Fused fused = recognise(pass.equation, columns, graph_.values[chain[to] + 1].channels);
    // of the intermediate values, kernels can write only the neuron's input current
    const bool gives_all = std::all_of(pass.kept.begin(), pass.kept.end(),
                                       [&](const auto& kept) { return kept.reg == fused.current; });
    // only a quantise node guarantees the constants of a quantiser and results that fit in codes
    const bool is_quantised = graph_.nodes[chain[to]].op == Op::kQuantise;
    if (gives_all && (fused.kernel != Fused::kFire || is_quantised))
      pass.fused = fused;
    if (pass.fused.kernel == Fused::kNone) {
      std::vector<int32_t*> named;
      for (Pass::Kept& kept : pass.kept)
        named.push_back(&kept.reg);
      pass.equation = combined(pass.equation, named);
    }
    return pass;
  }

  static bool is_output_of(const std::vector<int32_t>& nodes, int32_t value) {
    return std::find(nodes.begin(), nodes.end(), value - 1) != nodes.end();
  }

  const Graph& graph_;
  const std::vector<int32_t> readers_;
};

} // namespace

Passes::Passes(const Graph& graph, const std::vector<Stage>& stages, bool joins)
    : first_(graph.nodes.size(), -1), is_inner_(graph.nodes.size(), false),
      is_spared_(graph.values.size(), false) {
  const Finder finder(graph);
  for (const Stage& stage : stages)
    for (size_t place = 0, taken = 0; place < stage.chain.size(); ++place) {
      if (graph.nodes[stage.chain[place]].equation == nullptr)
        continue;
      Pass pass = finder.find(stage.chain, place, taken, joins);
      first_[pass.nodes.front()] = int32_t(passes_.size());
      for (int32_t n : pass.nodes) {
        is_inner_[n] = n != pass.nodes.front();
        is_spared_[n + 1] = n != pass.nodes.back();
      }
      for (const Pass::Kept& kept : pass.kept)
        is_spared_[kept.value] = false;
      while (taken < stage.chain.size() && stage.chain[taken] <= pass.nodes.back())
        ++taken;
      passes_.push_back(std::move(pass));
    }
}

int64_t Pass::scratch_bytes() const {
  return fused.kernel != Fused::kNone ? 0 : equation.registers() * kEquationBlock * int64_t(sizeof(float));
}

std::pair<int32_t, int32_t> Pass::replaced(const Graph& graph) const {
  if (fused.kernel != Fused::kFire || fused.addend < 0 || kept.empty())
    return {-1, -1};
  const Input& addend = inputs[size_t(fused.addend)];
  const int32_t value = graph.nodes[addend.node].inputs[addend.which];
  if (value < 0 || graph.values[value].max_code > 0)
    return {-1, -1};
  return {value, kept.front().value};
}

void Pass::compute(RowContext& c) const {
  const int32_t n = nodes.back();
  const Value& out = c.type(n + 1);
  const auto input = [&](int32_t reg) {
    return c.float_row(inputs[size_t(reg)].node, inputs[size_t(reg)].which);
  };
  const auto row = [&](int32_t reg) { return row_at(*rows[size_t(reg - equation.first_row())], c.t()); };
  const auto potential = [&](int s) {
    return c.chunk.potentials[c.plan.potential_of[first_state] + s] + c.row * out.width * out.channels;
  };
  // in time, pixels are the steps of a single pixel
  const int64_t pixels = int64_t(out.width) * c.steps_at_once;
  const bool over_time = c.steps_at_once > 1;
  switch (fused.kernel) {
  case Fused::kParallel: {
    const float* x = input(fused.current);
    return c.kernels.parallel(x, floats(c.output_row(n + 1)), row(fused.threshold), pixels, out.channels);
  }
  case Fused::kHdLif: {
    const float* x = input(fused.current);
    const auto kernel = over_time ? c.kernels.hd_lif_over_time : c.kernels.hd_lif;
    return kernel(x, potential(0), floats(c.output_row(n + 1)), row(fused.leak), row(fused.threshold), pixels,
                  out.channels);
  }
  case Fused::kLif: {
    const float* x = input(fused.current);
    const auto kernel = over_time ? c.kernels.lif_over_time : c.kernels.lif;
    return kernel(x, potential(0), c.output_row(n + 1), row(fused.leak), row(fused.threshold), fused.reset,
                  pixels, out.channels);
  }
  case Fused::kFire: {
    Firing firing;
    if (fused.scale >= 0) {
      firing.scale = row(fused.scale).data;
      firing.shift = row(fused.shift).data;
    }
    if (fused.addend >= 0)
      firing.addend = input(fused.addend);
    for (const Kept& current : kept)
      firing.current = floats(c.output_row(current.value));
    if (fused.leak >= 0) {
      firing.potential = potential(0);
      firing.leak = row(fused.leak);
    }
    firing.threshold = row(fused.threshold);
    firing.inverse_step = row(fused.inverse_step);
    firing.offset = fused.offset;
    firing.largest = fused.largest;
    const auto kernel = over_time ? c.kernels.fire_over_time : c.kernels.fire;
    return kernel(input(fused.x), c.output_row(n + 1), firing, pixels, out.channels);
  }
  case Fused::kNone:
    break;
  }
  const float* from[kMaxInputs];
  for (size_t i = 0; i < inputs.size(); ++i)
    from[i] = input(int32_t(i));
  Row at[kMaxEquationRows + kMoreRows];
  for (size_t i = 0; i < rows.size(); ++i)
    at[i] = row_at(*rows[i], c.t());
  float* states[kMaxStates];
  for (int s = 0; s < equation.states(); ++s)
    states[s] = potential(s);
  float* to[kBefore + kBehind];
  int32_t registers[kBefore + kBehind];
  for (size_t i = 0; i < kept.size(); ++i) {
    to[i] = floats(c.output_row(kept[i].value));
    registers[i] = kept[i].reg;
  }
  const EquationStep step{at,
                          equation.instructions.data(),
                          equation.after.data(),
                          registers,
                          equation.inputs,
                          equation.states(),
                          equation.rows,
                          int32_t(equation.instructions.size()),
                          int32_t(kept.size()),
                          equation.result};
  uint8_t* y = c.output_row(n + 1);
  const bool is_code = out.max_code > 0;
  c.kernels.equation(from, states, to, is_code ? nullptr : floats(y), is_code ? y : nullptr, step,
                     floats(c.memory.scratch.data()), pixels, out.channels);
}

} // namespace hdlif
