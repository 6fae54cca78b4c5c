#include "plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "lookup.h"

namespace hdlif {
namespace {

// Rough rates, for deciding whether to wake another thread.
constexpr int64_t kProductsPerCycle = 128;
constexpr int64_t kEntriesPerCycle = 4;

// Operations that a row of a node counts as; see also `kEntryWork`.
constexpr double kRowWork = 512;

// Returns whether a node's equation is a neuron's: it has a state, or a kernel for neurons computes it. Other
// elementwise equations, such as companding, give few zeros.
bool emits_spikes(const Graph& graph, size_t n) {
  const Node& node = graph.nodes[n];
  std::vector<int32_t> columns;
  for (const Rows& rows : node.rows)
    columns.push_back(rows.columns);
  return node.equation->states() > 0 ||
         recognise(*node.equation, columns, graph.values[n + 1].channels).kernel != Fused::kNone;
}

// Returns whether each value is the output of a neuron with many zeros, possibly pooled or split.
std::vector<bool> sparse_values(const Graph& graph) {
  std::vector<bool> is_sparse(graph.values.size(), false);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const bool is_code = graph.values[n + 1].max_code > 0;
    switch (form_of(node.op).sparse) {
    case Sparse::kCodes:
      is_sparse[n + 1] = is_code;
      break;
    case Sparse::kAlways:
      is_sparse[n + 1] = is_code || node.equation == nullptr || emits_spikes(graph, n);
      break;
    case Sparse::kAsInputs:
      is_sparse[n + 1] = std::all_of(node.inputs.begin(), node.inputs.end(),
                                     [&](int32_t input) { return input < 0 || is_sparse[input]; });
      break;
    }
  }
  return is_sparse;
}

// Lays out weights [ky][kx][ci][co]: unchanged for groups, in blocks of output channels for kDense, and
// otherwise with output channels padded to the lanes of an event.
template <typename Weight>
LineVector<Weight> laid_out(const std::vector<Weight>& weights, const ConvShape& shape, Sum sum) {
  const int64_t channels = shape.out_channels;
  if (sum == Sum::kGrouped || weights.empty())
    return LineVector<Weight>(weights.begin(), weights.end());
  if (sum != Sum::kDense) {
    const int64_t rows = int64_t(weights.size()) / channels, lanes = shape.lanes();
    LineVector<Weight> laid(size_t(rows * lanes), Weight(0));
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(&weights[size_t(row * channels)], channels, &laid[size_t(row * lanes)]);
    return laid;
  }
  const int64_t rows = int64_t(weights.size()) / channels,
                blocks = (channels + kDenseBlock - 1) / kDenseBlock;
  LineVector<Weight> laid(size_t(blocks * rows * kDenseBlock), Weight(0));
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t c = 0; c < channels; ++c)
      laid[(c / kDenseBlock * rows + row) * kDenseBlock + c % kDenseBlock] = weights[row * channels + c];
  return laid;
}

// For each row, whether x * scale + shift equals x in every bit. The shift must be -0, because -0 + 0 is 0.
std::vector<bool> identity_rows(const Rows& scale, const Rows& shift) {
  std::vector<bool> is_identity;
  for (int32_t t = 0; t < std::max(scale.steps, shift.steps); ++t) {
    const float *a = scale.at(t), *b = shift.at(t);
    is_identity.push_back(
        std::all_of(a, a + scale.columns, [](float v) { return v == 1.0f; }) &&
        std::all_of(b, b + shift.columns, [](float v) { return v == 0.0f && std::signbit(v); }));
  }
  return is_identity;
}

Work work_of(const Graph& graph, size_t n) {
  const Node& node = graph.nodes[n];
  const Value &in = graph.values[node.inputs[0]], &out = graph.values[n + 1];
  const OpForm& form = form_of(node.op);
  const RowWork work = form.work(node, in, out);
  if (form.multiplies && work.pixel > kMaxProducts)
    throw TooLong(n, work.pixel, kMaxProducts);
  if (const double longest = work.piece > 0 ? work.piece : work.row; longest > kMaxPiece)
    throw TooLong(n, longest, kMaxPiece);
  const double row = work.row + kRowWork;
  return {work.pixel, row, form.reach == Reach::kMap ? row : row * out.height};
}

std::vector<Work> work_of(const Graph& graph) {
  std::vector<Work> work;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    work.push_back(work_of(graph, n));
  return work;
}

// Groups the nodes of a graph into stages.
std::vector<Stage> fuse(const Graph& graph) {
  std::vector<Stage> stages;
  std::vector<int32_t> stage_of_value(graph.values.size(), -1);
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    int32_t stage = -1;
    if (form_of(node.op).reach == Reach::kPixel)
      for (int32_t input : node.inputs)
        if (input >= 0)
          stage = std::max(stage, stage_of_value[input]);
    const bool joins =
        stage >= 0 && !(stages[stage].root >= 0 && computes_maps(graph.nodes[stages[stage].root].op));
    if (!joins) {
      stage = int32_t(stages.size());
      stages.emplace_back();
    }
    if (form_of(node.op).reach == Reach::kPixel)
      stages[stage].chain.push_back(int32_t(n));
    else
      stages[stage].root = int32_t(n);
    stage_of_value[n + 1] = stage;
  }
  return stages;
}

int64_t row_bytes(const Node& node) {
  int64_t entries = 0;
  for (const Rows& rows : node.rows)
    entries += int64_t(rows.data.size());
  return entries * int64_t(sizeof(float));
}

// Returns an upper bound of the bytes of laid-out weights; an index with two channels per byte takes half.
int64_t largest_bytes(const Graph& graph, const Kernels& kernels) {
  int64_t bytes = 0;
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    const Node& node = graph.nodes[n];
    const int32_t out = graph.values[n + 1].channels, lanes = lookup_lanes(out);
    const int64_t size = int64_t(node.low_bit_weights.size() + sizeof(float) * node.float_weights.size());
    bytes += size / out * lanes + row_bytes(node);
    if (kernels.sum_tiles != nullptr)
      bytes += kMostPadded * int64_t(node.low_bit_weights.size());
  }
  return bytes;
}

// Prepares the layers, and removes the weights from the graph.
std::vector<Layer> prepare_layers(Graph& graph, const Kernels& kernels, int64_t max_bytes) {
  if (const int64_t bytes = largest_bytes(graph, kernels); bytes > max_bytes)
    throw TooManyBytes(bytes);
  const std::vector<bool> is_sparse = sparse_values(graph);
  std::vector<Layer> layers(graph.nodes.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    Node& node = graph.nodes[n];
    if (!form_of(node.op).multiplies)
      continue;
    const Value &in = graph.values[node.inputs[0]], &out = graph.values[n + 1];
    const Window& w = node.window;
    Layer& layer = layers[n];
    layer.shape = {in.height,   in.width,        in.channels,  out.height,   out.width,  out.channels,
                   w.kernel_y,  w.kernel_x,      w.stride_y,   w.stride_x,   w.pad_y,    w.pad_x,
                   in.max_code, node.max_weight, w.dilation_y, w.dilation_x, node.groups};
    const bool is_low_bit = !node.low_bit_weights.empty();
    if (node.groups > 1) {
      layer.sum = Sum::kGrouped;
    } else if (in.max_code > 0 && is_low_bit) {
      layer.sum = Sum::kCodes;
      if (kernels.unit_row != nullptr)
        layer.form = lookup_form(layer.shape);
      if (layer.form.per_unit > 0)
        layer.sum = Sum::kUnits;
    } else if (in.max_code > 0)
      layer.sum = Sum::kCodeValues;
    else
      layer.sum = is_sparse[node.inputs[0]] ? Sum::kFloats : Sum::kDense;
    const bool sums_codes = layer.sum == Sum::kUnits || layer.sum == Sum::kCodes;
    if (kMayHaveTiles && sums_codes && kernels.sum_tiles != nullptr) {
      layer.tiles = tile_form(layer.shape);
      if (layer.tiles.depth > 0)
        layer.tile_weights = tile_weights(layer.shape, layer.tiles, node.low_bit_weights.data());
    }
    if (layer.sum == Sum::kUnits) {
      layer.index = lookup_index(layer.shape, layer.form, node.low_bit_weights.data());
      layer.table = lookup_table(layer.shape, layer.form);
    } else
      layer.low_bit = laid_out(node.low_bit_weights, layer.shape, layer.sum);
    layer.floats = laid_out(node.float_weights, layer.shape, layer.sum);
    node.low_bit_weights = std::vector<int8_t>(); // frees the memory; "= {}" would not
    node.float_weights = std::vector<float>();
  }
  return layers;
}

} // namespace

bool takes_floats(const Node& node, const Value& output) {
  const Widens widens = form_of(node.op).widens;
  return widens == Widens::kAlways || (widens == Widens::kUnlessCodes && output.max_code == 0);
}

bool computes_maps(Op op) {
  return form_of(op).reach == Reach::kMap;
}

Plan::Plan(Graph given, const Kernels& kernels, int64_t max_bytes)
    : graph(std::move(given)), kernels(kernels), work(work_of(graph)),
      layers(prepare_layers(graph, kernels, max_bytes)), stages(fuse(graph)),
      identity_rows(graph.nodes.size()), potential_of(graph.nodes.size(), -1), joined(graph, stages, true),
      alone(graph, stages, false), timeline(graph, layers, work, stages, joined) {
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (graph.nodes[n].op == Op::kAffine)
      identity_rows[n] = hdlif::identity_rows(graph.nodes[n].rows[0], graph.nodes[n].rows[1]);
  for (size_t i = graph.stateful.size(); i-- > 0;) // in descending order, so the first state of a node wins
    potential_of[graph.stateful[i]] = int32_t(i);
  bytes_ = count_bytes();
  potential_entries_ = count_potential_entries();
}

int64_t Plan::count_bytes() const {
  int64_t total = 0;
  for (const Layer& layer : layers)
    total +=
        int64_t(layer.index.size() + layer.table.size() + layer.low_bit.size() + layer.tile_weights.size()) +
        int64_t(layer.floats.size() * sizeof(float));
  for (const Node& node : graph.nodes)
    total += row_bytes(node);
  return total;
}

int64_t Plan::history_bytes(int32_t value) const {
  const Value& type = graph.values[value];
  const int64_t history = timeline.exists ? timeline.history[value] : 0;
  return history == 0 ? 0 : (history + kTimeRoom) * type.size() * type.entry_bytes() + kReadAhead;
}

int64_t Plan::count_potential_entries() const {
  int64_t entries = 0;
  for (int32_t n : graph.stateful)
    entries += graph.values[n + 1].size();
  return entries;
}

double Plan::operations(int64_t batch, int64_t steps, int64_t chunks, bool is_static, bool keeps_all) const {
  const auto times = [&](int32_t value) {
    return double(is_static && graph.values[value].constant ? chunks : steps);
  };
  double total = kEntryWork * double(graph.values[0].size()) * times(0) +
                 kEntryWork * double(graph.values[graph.output].size()) * double(steps);
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    total += work[n].image * times(int32_t(n + 1));
  for (size_t v = 0; keeps_all && v < graph.values.size(); ++v)
    total += kEntryWork * double(graph.values[v].size()) * double(steps);
  return total * double(batch);
}

int64_t Plan::leading(const Stage& stage, const Chunk& chunk) const {
  int64_t steps = stage.root >= 0 ? leading(stage.root + 1, chunk) : 1;
  for (int32_t n : stage.chain)
    steps = std::max(steps, leading(n + 1, chunk));
  return steps;
}

int64_t Plan::rows(const Stage& stage, const Chunk& chunk) const {
  const bool is_map = stage.root >= 0 && computes_maps(graph.nodes[stage.root].op);
  return chunk.batch * (is_map ? 1 : graph.values[stage.first() + 1].height);
}

int64_t Plan::cycles_per_row(const Stage& stage) const {
  const Value& out = graph.values[stage.first() + 1];
  const int64_t entries = int64_t(out.width) * out.channels;
  int64_t cycles = 1 + entries * int64_t(stage.chain.size()) / kEntriesPerCycle;
  if (stage.root >= 0) {
    const Node& root = graph.nodes[stage.root];
    const ConvShape& s = layers[stage.root].shape;
    if (form_of(root.op).multiplies)
      cycles += entries * s.kernel_y * s.kernel_x * (s.in_channels / s.groups) / kProductsPerCycle;
    else
      cycles += graph.values[root.inputs[0]].size() / out.height / kEntriesPerCycle;
  }
  return cycles;
}

} // namespace hdlif
