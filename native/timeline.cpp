#include "timeline.h"

#include <algorithm>

#include "plan.h"

namespace hdlif {
namespace {

const Node* node_of(const Graph& graph, int32_t value) {
  return value == 0 ? nullptr : &graph.nodes[size_t(value - 1)];
}

bool is_op(const Node* node, Op op) {
  return node != nullptr && node->op == op;
}

// The maximum number of values that a layer reads, and the maximum depth of concatenations. This keeps the
// planning time linear in the number of nodes.
constexpr size_t kMostTaps = 512;

// A value some steps ago.
struct Leaf {
  int32_t value, lag;
};

// For each value, the source that it delays, and by how many steps; a lag of -1 for a delay of a value that
// comes later in the graph.
std::vector<Leaf> behind_delays(const Graph& graph) {
  std::vector<Leaf> leaves{{0, 0}};
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const auto value = int32_t(n + 1);
    const int32_t source = graph.nodes[n].source;
    Leaf leaf{value, 0};
    if (graph.nodes[n].op == Op::kDelay) {
      leaf.lag = -1;
      if (source < value && leaves[size_t(source)].lag >= 0)
        leaf = {leaves[size_t(source)].value, leaves[size_t(source)].lag + 1};
    }
    leaves.push_back(leaf);
  }
  return leaves;
}

// Appends the values that are concatenated into one, in order; returns false if there are too many.
bool unfold(const Graph& graph, const std::vector<Leaf>& behind, int32_t value, size_t depth,
            std::vector<Leaf>& leaves) {
  const Node* node = node_of(graph, value);
  while (is_op(node, Op::kFlatten)) // flattening a single pixel does not change it
    node = node_of(graph, value = node->inputs[0]);
  if (leaves.size() >= kMostTaps || depth >= kMostTaps)
    return false;
  if (is_op(node, Op::kConcat))
    return unfold(graph, behind, node->inputs[0], depth + 1, leaves) &&
           unfold(graph, behind, node->inputs[1], depth + 1, leaves);
  leaves.push_back(behind[size_t(value)]);
  return true;
}

bool is_single(const Layer& layer, const Node& node) {
  const Window& w = node.window;
  return node.groups == 1 && w.kernel_y == 1 && w.kernel_x == 1 && w.pad_y == 0 && w.pad_x == 0 &&
         layer.sum != Sum::kGrouped;
}

// Returns whether a node only rearranges values, and need not be computed if only layers read it.
bool rearranges(const Node& node) {
  return node.op == Op::kDelay || node.op == Op::kConcat || node.op == Op::kFlatten;
}

bool have_one_row(const std::vector<Rows>& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const Rows& one) { return one.steps == 1; });
}

} // namespace

Timeline::Timeline(const Graph& graph, const std::vector<Layer>& layers, const std::vector<Work>& work,
                   const std::vector<Stage>& all, const Passes& passes)
    : taps(graph.nodes.size()), is_skipped(graph.nodes.size(), false), at_once(graph.nodes.size(), false),
      history(graph.values.size(), 0) {
  const auto is_pixel = [](const Value& value) { return value.pixels() == 1; };
  if (!std::all_of(graph.values.begin(), graph.values.end(), is_pixel) || !find_taps(graph, layers, work) ||
      !find_skipped(graph) || !find_held(graph))
    return;
  exists = true;
  for (const Stage& stage : all) {
    Stage kept;
    if (stage.root >= 0 && !is_skipped[size_t(stage.root)])
      kept.root = stage.root;
    for (int32_t n : stage.chain)
      if (!is_skipped[size_t(n)])
        kept.chain.push_back(n);
    if (kept.root >= 0 || !kept.chain.empty())
      stages.push_back(std::move(kept));
  }
  const auto takes_codes = [&](int32_t n, int which) {
    const int32_t input = graph.nodes[size_t(n)].inputs[size_t(which)];
    return input >= 0 && graph.values[size_t(input)].max_code > 0;
  };
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (const Pass* pass = passes.at(int32_t(n)); pass != nullptr)
      at_once[n] = (pass->fused.kernel != Fused::kNone || pass->first_state < 0) &&
                   std::all_of(pass->rows.begin(), pass->rows.end(),
                               [](const Rows* rows) { return rows->steps == 1; }) &&
                   std::none_of(pass->inputs.begin(), pass->inputs.end(),
                                [&](const auto& input) { return takes_codes(input.node, input.which); });
    else if (node.op == Op::kAffine || node.op == Op::kQuantise)
      at_once[n] = have_one_row(node.rows) && !takes_codes(int32_t(n), 0);
  }
}

// Finds the taps of every layer; returns whether every layer has taps.
bool Timeline::find_taps(const Graph& graph, const std::vector<Layer>& layers,
                         const std::vector<Work>& work) {
  const std::vector<Leaf> behind = behind_delays(graph);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    if (!form_of(node.op).multiplies) {
      if (form_of(node.op).reach != Reach::kPixel && !rearranges(node))
        return false;
      continue;
    }
    if (!is_single(layers[n], node))
      return false;
    std::vector<Leaf> leaves;
    if (!unfold(graph, behind, node.inputs[0], 0, leaves))
      return false;
    Taps& own = taps[n];
    own.source = leaves[0].value;
    own.count = int32_t(leaves.size());
    own.dilation = leaves.size() > 1 ? leaves[1].lag : 1;
    for (size_t i = 0; i < leaves.size(); ++i)
      if (leaves[i].value != own.source || own.dilation < 1 || leaves[i].lag != int32_t(i) * own.dilation)
        return false;
    const Node* source = node_of(graph, own.source);
    const Value& type = graph.values[size_t(own.source)];
    if ((source != nullptr && rearranges(*source)) ||
        type.max_code != graph.values[size_t(node.inputs[0])].max_code ||
        (layers[n].sum == Sum::kUnits && type.channels % layers[n].form.per_unit != 0))
      return false;
    if (work[n].row * double(kTimeSteps + own.reach()) > kMaxPiece)
      return false;
    history[size_t(own.source)] = std::max(history[size_t(own.source)], own.reach());
  }
  return true;
}

// Finds the rearranging nodes that only layers read, also through each other. Returns false if a delay or a
// flatten node is not among them.
bool Timeline::find_skipped(const Graph& graph) {
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    is_skipped[n] = rearranges(graph.nodes[n]) && graph.output != int32_t(n + 1);
  for (size_t n = graph.nodes.size(); n-- > 0;) // readers come after the nodes that they read
    if (const Node& node = graph.nodes[n]; !is_skipped[n] && taps[n].source < 0 && node.op != Op::kDelay)
      for (int32_t input : node.inputs)
        if (input > 0)
          is_skipped[size_t(input - 1)] = false;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (!is_skipped[n] && (graph.nodes[n].op == Op::kDelay || graph.nodes[n].op == Op::kFlatten))
      return false;
  return true;
}

// Finds the frame that each delay stores; returns whether each is a different frame of a history.
bool Timeline::find_held(const Graph& graph) {
  const std::vector<Leaf> behind = behind_delays(graph);
  std::vector<std::vector<bool>> known(graph.values.size());
  for (size_t value = 0; value < known.size(); ++value)
    known[value].assign(size_t(history[value]) + 1, false);
  for (int32_t n : graph.delays) {
    const Leaf leaf = behind[size_t(n + 1)];
    if (leaf.lag < 1 || leaf.lag > history[size_t(leaf.value)] || known[size_t(leaf.value)][size_t(leaf.lag)])
      return false;
    known[size_t(leaf.value)][size_t(leaf.lag)] = true;
    held.push_back({n, leaf.value, leaf.lag});
  }
  return true;
}

} // namespace hdlif
