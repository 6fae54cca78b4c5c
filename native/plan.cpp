#include "plan.h"

#include <algorithm>
#include <utility>

namespace hdlif {
namespace {

bool is_pointwise(Op op) {
  switch (op) {
  case Op::kAffine:
  case Op::kHdLif:
  case Op::kParallel:
  case Op::kLif:
  case Op::kGradedLif:
  case Op::kGlif:
  case Op::kQuantise:
  case Op::kAdd:
    return true;
  default:
    return false;
  }
}

// Roots that are computed a map at a time, so that no chain can follow within the stage.
bool is_map_at_once(Op op) {
  return op == Op::kSeca || op == Op::kFlatten;
}

int64_t row_bytes(const Value& value) {
  return int64_t(value.width) * value.channels * value.entry_bytes();
}

// Tiles begin on cache lines.
int64_t rounded(int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

std::vector<int32_t> stage_of_nodes(const Program& program, const std::vector<Stage>& stages) {
  std::vector<int32_t> stage(program.nodes.size(), -1);
  for (size_t s = 0; s < stages.size(); ++s) {
    if (stages[s].root >= 0)
      stage[stages[s].root] = int32_t(s);
    for (int32_t n : stages[s].chain)
      stage[n] = int32_t(s);
  }
  return stage;
}

// Whether a value is a neuron's output of which many entries are zero, also pooled or flattened.
std::vector<bool> sparse_values(const Program& program) {
  std::vector<bool> is_sparse(program.values.size(), false);
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const Node& node = program.nodes[n];
    switch (node.op) {
    case Op::kHdLif:
    case Op::kParallel:
    case Op::kGradedLif:
      is_sparse[n + 1] = true;
      break;
    case Op::kSumPool:
    case Op::kMaxPool:
    case Op::kFlatten:
      is_sparse[n + 1] = is_sparse[node.inputs[0]];
      break;
    default:
      is_sparse[n + 1] = program.values[n + 1].max_code > 0;
    }
  }
  return is_sparse;
}

// The channels of a unit so that its weights are one of 16 kinds, no product of a difference of codes passes
// an int8, and an entry of the table can be named in 16 bits.
int32_t channels_per_unit(const Value& in, int32_t max_weight) {
  const int64_t symbols = 2 * int64_t(max_weight) + 1, differences = 2 * int64_t(in.max_code) + 1;
  const auto holds = [&](int32_t channels, int64_t kinds, int64_t entries) {
    return in.channels % channels == 0 && kinds <= kTableEntry && entries * kTableEntry <= UINT16_MAX + 1 &&
           int64_t(channels) * in.max_code * max_weight <= INT8_MAX;
  };
  if (holds(2, symbols * symbols, differences * differences))
    return 2;
  return holds(1, symbols, differences) ? 1 : 0;
}

LookupForm lookup_form(const Value& in, int32_t max_weight, int32_t out_channels) {
  LookupForm form;
  form.per_unit = channels_per_unit(in, max_weight);
  if (form.per_unit > 0) {
    form.units = in.channels / form.per_unit;
    form.lanes = (out_channels + 15) / 16 * 16;
  }
  return form;
}

// Worked on one number: ternary weights (-1, 1) of channels 0 and 1 are index (-1 + 1) + 3 * (1 + 1) = 6;
// 4-bit codes that went from (5, 2) to (5, 0) are entry (0 + 15) + 31 * (-2 + 15) = 418; the table holds at
// [418][6] the product 0 * -1 - 2 * 1 = -2.
void index_weights(Layer& layer, const std::vector<int8_t>& weights) {
  const ConvShape& s = layer.shape;
  const LookupForm& form = layer.form;
  const int32_t symbols = 2 * s.max_weight + 1, zero = s.max_weight * (form.per_unit == 2 ? 1 + symbols : 1);
  const int64_t rows = int64_t(s.kernel_y) * s.kernel_x * form.units;
  layer.index.assign(rows * form.lanes, uint8_t(zero));
  for (int64_t row = 0; row < rows; ++row)
    for (int32_t co = 0; co < s.out_channels; ++co) {
      const int8_t* w = &weights[row * form.per_unit * s.out_channels + co];
      int32_t index = w[0] + s.max_weight;
      if (form.per_unit == 2)
        index += symbols * (w[s.out_channels] + s.max_weight);
      layer.index[row * form.lanes + co] = uint8_t(index);
    }
  const bool is_pair = form.per_unit == 2;
  const int32_t differences = 2 * s.max_code + 1, entries = differences * (is_pair ? differences : 1);
  layer.table.assign(int64_t(entries) * kTableEntry, 0);
  for (int32_t entry = 0; entry < entries; ++entry)
    for (int32_t i = 0; i < symbols * (is_pair ? symbols : 1); ++i) {
      int32_t product = (entry % differences - s.max_code) * (i % symbols - s.max_weight);
      if (is_pair)
        product += (entry / differences - s.max_code) * (i / symbols - s.max_weight);
      layer.table[entry * kTableEntry + i] = int8_t(product);
    }
}

// [ky][kx][ci][co] as it is, or in blocks of output channels.
template <typename Weight>
LineVector<Weight> laid_out(const std::vector<Weight>& weights, int64_t channels, bool in_blocks) {
  if (!in_blocks || weights.empty())
    return LineVector<Weight>(weights.begin(), weights.end());
  const int64_t rows = int64_t(weights.size()) / channels,
                blocks = (channels + kDenseBlock - 1) / kDenseBlock;
  LineVector<Weight> laid(size_t(blocks * rows * kDenseBlock), Weight(0));
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t c = 0; c < channels; ++c)
      laid[(c / kDenseBlock * rows + row) * kDenseBlock + c % kDenseBlock] = weights[row * channels + c];
  return laid;
}

// Hands out byte offsets of a tile, smallest first.
class Tile {
public:
  int64_t take(int64_t bytes, bool may_reuse = true) {
    bytes = rounded(bytes);
    for (auto gap = gaps_.begin(); may_reuse && gap != gaps_.end(); ++gap)
      if (gap->second == bytes) {
        const int64_t offset = gap->first;
        gaps_.erase(gap);
        return offset;
      }
    const int64_t offset = size_;
    size_ += bytes;
    return offset;
  }
  void give(int64_t offset, int64_t bytes) { gaps_.push_back({offset, rounded(bytes)}); }
  int64_t size() const { return size_; }

private:
  std::vector<std::pair<int64_t, int64_t>> gaps_;
  int64_t size_ = 0;
};

// Slots of memory that are reused as soon as their value has had its last reader.
class Slots {
public:
  int32_t take(int64_t wanted) {
    if (free_.empty()) {
      bytes_.push_back(wanted);
      return int32_t(bytes_.size() - 1);
    }
    // the smallest slot that is large enough, else the largest, which grows
    const auto order = [&](int32_t a, int32_t b) {
      const bool a_fits = bytes_[a] >= wanted, b_fits = bytes_[b] >= wanted;
      return a_fits != b_fits ? a_fits : (a_fits ? bytes_[a] < bytes_[b] : bytes_[a] > bytes_[b]);
    };
    const auto best = std::min_element(free_.begin(), free_.end(), order);
    const int32_t slot = *best;
    free_.erase(best);
    bytes_[slot] = std::max(bytes_[slot], wanted);
    return slot;
  }
  void give(int32_t slot) { free_.push_back(slot); }
  const std::vector<int64_t>& bytes() const { return bytes_; }

private:
  std::vector<int64_t> bytes_;
  std::vector<int32_t> free_;
};

// The passes of a chain. All nodes of a pass run at the same steps, none takes codes, and of the values
// between them, only what the neuron takes may have another reader.
void find_firing(const Program& program, const Stage& stage, const std::vector<int32_t>& readers,
                 Placement& placement) {
  const std::vector<int32_t>& chain = stage.chain;
  const auto constant = [&](int32_t n) { return program.values[n + 1].constant; };
  const auto takes_codes = [&](int32_t n) {
    const auto& inputs = program.nodes[n].inputs;
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](int32_t input) { return input >= 0 && program.values[input].max_code > 0; });
  };
  for (size_t i = 1; i < chain.size(); ++i) {
    const int32_t quantise = chain[i], neuron = chain[i - 1];
    const Op op = program.nodes[neuron].op;
    if (program.nodes[quantise].op != Op::kQuantise || (op != Op::kHdLif && op != Op::kParallel) ||
        program.nodes[quantise].inputs[0] != neuron + 1 || readers[neuron + 1] != 1 || takes_codes(neuron) ||
        constant(neuron) != constant(quantise))
      continue;
    FiringNodes nodes;
    nodes.quantise = quantise;
    nodes.neuron = neuron;
    // the node before, if it makes what the pass so far begins with
    size_t next = i - 1;
    const auto joins = [&](Op wanted, int32_t reader, bool is_between) {
      if (next == 0)
        return -1;
      const int32_t n = chain[next - 1];
      const auto& inputs = program.nodes[reader].inputs;
      const bool fits =
          program.nodes[n].op == wanted && !takes_codes(n) && constant(n) == constant(quantise) &&
          std::count(inputs.begin(), inputs.end(), n + 1) == 1 && (!is_between || readers[n + 1] == 1);
      if (!fits)
        return -1;
      --next;
      return n;
    };
    nodes.add = joins(Op::kAdd, neuron, false);
    nodes.affine = joins(Op::kAffine, nodes.add >= 0 ? nodes.add : neuron, nodes.add >= 0);
    placement.firing[nodes.first()] = nodes;
    for (int32_t n : {nodes.affine, nodes.add, nodes.neuron, nodes.quantise})
      if (n >= 0)
        placement.is_passed[n] = n != nodes.first();
  }
}

} // namespace

bool takes_floats(Op op) {
  return is_pointwise(op) || op == Op::kSeca;
}

std::vector<Stage> fuse(const Program& program) {
  std::vector<Stage> stages;
  std::vector<int32_t> stage_of_value(program.values.size(), -1);
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const Node& node = program.nodes[n];
    int32_t stage = -1;
    if (is_pointwise(node.op))
      for (int32_t input : node.inputs)
        if (input >= 0)
          stage = std::max(stage, stage_of_value[input]);
    const bool joins =
        stage >= 0 && !(stages[stage].root >= 0 && is_map_at_once(program.nodes[stages[stage].root].op));
    if (!joins) {
      stage = int32_t(stages.size());
      stages.emplace_back();
    }
    if (is_pointwise(node.op))
      stages[stage].chain.push_back(int32_t(n));
    else
      stages[stage].root = int32_t(n);
    stage_of_value[n + 1] = stage;
  }
  return stages;
}

std::vector<Layer> prepare_layers(Program& program, const Kernels& kernels) {
  const std::vector<bool> is_sparse = sparse_values(program);
  std::vector<Layer> layers(program.nodes.size());
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    Node& node = program.nodes[n];
    if (node.op != Op::kConv2d && node.op != Op::kLinear)
      continue;
    const Value &in = program.values[node.inputs[0]], &out = program.values[n + 1];
    const Window& w = node.window;
    Layer& layer = layers[n];
    layer.shape = {in.height,  in.width,   in.channels, out.height, out.width, out.channels, w.kernel_y,
                   w.kernel_x, w.stride_y, w.stride_x,  w.pad_y,    w.pad_x,   in.max_code,  node.max_weight};
    const bool is_low_bit = !node.low_bit_weights.empty();
    if (in.max_code > 0 && is_low_bit) {
      layer.sum = Sum::kCodes;
      if (kernels.unit_row != nullptr)
        layer.form = lookup_form(in, node.max_weight, out.channels);
      if (layer.form.per_unit > 0)
        layer.sum = Sum::kUnits;
    } else if (in.max_code > 0)
      layer.sum = Sum::kCodeValues;
    else
      layer.sum = is_sparse[node.inputs[0]] ? Sum::kFloats : Sum::kDense;
    if (layer.sum == Sum::kUnits)
      index_weights(layer, node.low_bit_weights);
    else
      layer.low_bit = laid_out(node.low_bit_weights, out.channels, layer.sum == Sum::kDense);
    layer.floats = laid_out(node.float_weights, out.channels, layer.sum == Sum::kDense);
    node.low_bit_weights = std::vector<int8_t>(); // gives its memory back, as "= {}" would not
    node.float_weights = std::vector<float>();
  }
  return layers;
}

Placement place(const Program& program, const std::vector<Stage>& stages, int64_t batch, int64_t steps,
                bool is_static, bool keeps_all) {
  const size_t value_count = program.values.size(), stage_count = stages.size();
  const std::vector<int32_t> stage = stage_of_nodes(program, stages);
  const auto stage_of = [&](int32_t value) { return value == 0 ? -1 : stage[value - 1]; };

  // the last stage that reads a value, and whether another stage than its own does; a whole map is shared,
  // even if nothing reads it, for no tile holds one
  std::vector<size_t> last_stage(value_count, 0);
  std::vector<bool> is_shared(value_count, keeps_all);
  for (size_t s = 0; s < stage_count; ++s)
    if (const int32_t root = stages[s].root; root >= 0 && is_map_at_once(program.nodes[root].op)) {
      is_shared[root + 1] = true;
      last_stage[root + 1] = s;
    }
  is_shared[0] = is_shared[program.output] = true;
  for (size_t n = 0; n < program.nodes.size(); ++n)
    for (int32_t input : program.nodes[n].inputs)
      if (input >= 0) {
        last_stage[input] = std::max(last_stage[input], size_t(stage[n]));
        if (stage_of(input) != stage[n])
          is_shared[input] = true;
      }
  last_stage[program.output] = stage_count;
  std::vector<int32_t> readers(value_count, 0);
  ++readers[program.output];
  for (const Node& node : program.nodes)
    for (int32_t input : node.inputs)
      if (input >= 0)
        ++readers[input];

  Placement placement;
  placement.batch = batch;
  placement.steps = steps;
  placement.is_static = is_static;
  placement.keeps_all = keeps_all;
  placement.slot.assign(value_count, -1);
  placement.tile.assign(value_count, -1);
  placement.widened.assign(2 * program.nodes.size(), -1);
  placement.firing.assign(program.nodes.size(), {});
  placement.is_passed.assign(program.nodes.size(), false);
  for (int32_t count : readers)
    placement.is_read_again.push_back(count > 1);
  if (!keeps_all)
    for (const Stage& stage : stages)
      find_firing(program, stage, readers, placement);
  Slots slots;
  const auto slot_bytes = [&](int32_t value) {
    const Value& type = program.values[value];
    const int64_t leading = is_static && type.constant ? 1 : steps;
    return leading * batch * type.size() * type.entry_bytes() + kReadAhead;
  };
  placement.slot[0] = slots.take(slot_bytes(0));
  for (size_t s = 0; s < stage_count; ++s) {
    std::vector<int32_t> nodes = stages[s].chain;
    if (stages[s].root >= 0)
      nodes.insert(nodes.begin(), stages[s].root);
    for (int32_t n : nodes)
      if (is_shared[n + 1])
        placement.slot[n + 1] = slots.take(slot_bytes(n + 1));

    // what an identity passes on must live as long as what it is passed on as, and what a fused pass reads
    // until it has written all that it writes
    std::vector<size_t> last_node(value_count, 0);
    size_t end_of_pass = 0;
    for (size_t i = nodes.size(); i-- > 0;) {
      const Node& node = program.nodes[nodes[i]];
      if (i + 1 == nodes.size() || !placement.is_passed[nodes[i + 1]])
        end_of_pass = i;
      for (int32_t input : node.inputs)
        if (input >= 0) {
          last_node[input] = std::max(last_node[input], end_of_pass);
          if (node.op == Op::kAffine)
            last_node[input] = std::max(last_node[input], last_node[nodes[i] + 1]);
        }
    }
    Tile tile;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const Node& node = program.nodes[nodes[i]];
      const int32_t output = nodes[i] + 1;
      int64_t widened_bytes[2] = {0, 0};
      for (int j = 0; j < 2; ++j)
        if (node.inputs[j] >= 0 && takes_floats(node.op) && program.values[node.inputs[j]].max_code > 0) {
          const Value& in = program.values[node.inputs[j]];
          const int64_t entries = node.op == Op::kSeca ? in.size() : int64_t(in.width) * in.channels;
          widened_bytes[j] = entries * int64_t(sizeof(float));
          placement.widened[2 * nodes[i] + j] = tile.take(widened_bytes[j]);
        }
      // a constant is computed at the first step of a chunk and read at all: it shares memory neither with
      // what comes after it nor, for that is computed once more at the next step, with what came before it
      const bool is_constant = program.values[output].constant;
      if (placement.slot[output] < 0)
        placement.tile[output] = tile.take(row_bytes(program.values[output]), !is_constant);
      for (int j = 0; j < 2; ++j)
        if (widened_bytes[j] > 0)
          tile.give(placement.widened[2 * nodes[i] + j], widened_bytes[j]);
      for (size_t k = 0; k <= i; ++k) {
        const int32_t value = nodes[k] + 1;
        const bool is_over = last_node[value] == i && k < i;
        if (is_over && placement.tile[value] >= 0 && !program.values[value].constant)
          tile.give(placement.tile[value], row_bytes(program.values[value]));
      }
    }
    placement.tile_bytes = std::max(placement.tile_bytes, tile.size());

    if (keeps_all)
      continue;
    for (size_t value = 0; value < value_count; ++value)
      if (placement.slot[value] >= 0 && last_stage[value] == s && stage_of(int32_t(value)) <= int32_t(s))
        slots.give(placement.slot[value]);
  }
  placement.slot_bytes = slots.bytes();
  return placement;
}

} // namespace hdlif
