#include "placement.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "memory.h"

namespace hdlif {
namespace {

int64_t row_bytes(const Value& value) {
  return int64_t(value.width) * value.channels * value.entry_bytes();
}

// Rounds up to whole cache lines.
int64_t rounded(int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

std::vector<int32_t> stage_of_nodes(const Graph& graph, const std::vector<Stage>& stages) {
  std::vector<int32_t> stage(graph.nodes.size(), -1);
  for (size_t s = 0; s < stages.size(); ++s) {
    if (stages[s].root >= 0)
      stage[stages[s].root] = int32_t(s);
    for (int32_t n : stages[s].chain)
      stage[n] = int32_t(s);
  }
  return stage;
}

// Allocates byte ranges of a tile.
class Tile {
public:
  int64_t take(int64_t bytes, bool may_reuse = true) {
    bytes = rounded(bytes);
    if (const auto gaps = gaps_.find(bytes); may_reuse && gaps != gaps_.end() && !gaps->second.empty()) {
      const int64_t offset = gaps->second.back();
      gaps->second.pop_back();
      return offset;
    }
    const int64_t offset = size_;
    size_ += bytes;
    return offset;
  }
  void give(int64_t offset, int64_t bytes) { gaps_[rounded(bytes)].push_back(offset); }
  int64_t size() const { return size_; }

private:
  std::unordered_map<int64_t, std::vector<int64_t>> gaps_; // by size in bytes
  int64_t size_ = 0;
};

// Slots of memory, reused after the last reader of their value.
class Slots {
public:
  int32_t take(int64_t wanted) {
    if (free_.empty()) {
      bytes_.push_back(wanted);
      return int32_t(bytes_.size() - 1);
    }
    // the smallest slot that is large enough, else the largest, which grows
    auto best = free_.lower_bound({wanted, 0});
    if (best == free_.end())
      --best;
    const int32_t slot = best->second;
    free_.erase(best);
    bytes_[slot] = std::max(bytes_[slot], wanted);
    return slot;
  }
  void give(int32_t slot) { free_.insert({bytes_[slot], slot}); }
  const std::vector<int64_t>& bytes() const { return bytes_; }

private:
  std::vector<int64_t> bytes_;
  std::set<std::pair<int64_t, int32_t>> free_; // size in bytes and slot
};

} // namespace

Placement place(const Plan& plan, int64_t batch, int64_t steps, bool is_static, bool keeps_all) {
  const Graph& graph = plan.graph;
  const bool in_time = plan.runs_in_time(batch, is_static, keeps_all);
  const Timeline& timeline = plan.timeline;
  const std::vector<Stage>& stages = in_time ? timeline.stages : plan.stages;
  const size_t value_count = graph.values.size(), stage_count = stages.size();
  const std::vector<int32_t> stage = stage_of_nodes(graph, stages);
  const Passes& passes = plan.passes(keeps_all);
  const auto stage_of = [&](int32_t value) { return value == 0 ? -1 : stage[value - 1]; };

  // the last stage that reads each value, and whether the value needs a slot; outputs of ops that compute
  // entire maps always need one, because a tile holds only one row
  std::vector<size_t> last_stage(value_count, 0);
  std::vector<bool> is_shared(value_count, keeps_all);
  for (size_t s = 0; s < stage_count; ++s)
    if (const int32_t root = stages[s].root; root >= 0 && computes_maps(graph.nodes[root].op))
      is_shared[root + 1] = true;
  is_shared[0] = is_shared[graph.output] = true;
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (int32_t input : graph.nodes[n].inputs)
      if (input >= 0 && stage[n] >= 0) {
        last_stage[input] = std::max(last_stage[input], size_t(stage[n]));
        if (stage_of(input) != stage[n])
          is_shared[input] = true;
      }
  // values without readers live until the end of their own stage
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    if (stage[n] >= 0)
      last_stage[n + 1] = std::max(last_stage[n + 1], size_t(stage[n]));
  last_stage[graph.output] = stage_count;
  for (size_t n = 0; in_time && n < graph.nodes.size(); ++n) {
    is_shared[n + 1] = !timeline.is_skipped[n] && !passes.is_spared(int32_t(n + 1));
    if (const int32_t source = timeline.taps[n].source; source >= 0)
      last_stage[source] = std::max(last_stage[source], size_t(stage[n]));
  }
  for (size_t i = 0; !in_time && i < graph.delays.size(); ++i) {
    const int32_t n = graph.delays[i];
    is_shared[graph.nodes[n].source] = true;
    last_stage[graph.nodes[n].source] = stage_count;
  }
  // values in slots without a history, grouped by the last stage that reads them
  std::vector<std::vector<int32_t>> last_read(stage_count + 1);
  const auto has_history = [&](int32_t value) { return in_time && timeline.history[value] > 0; };
  for (size_t value = 0; value < value_count; ++value)
    if (is_shared[value] && !has_history(int32_t(value)))
      last_read[last_stage[value]].push_back(int32_t(value));
  Placement placement;
  placement.batch = batch;
  placement.steps = steps;
  placement.is_static = is_static;
  placement.keeps_all = keeps_all;
  placement.in_time = in_time;
  placement.slot.assign(value_count, -1);
  placement.tile.assign(value_count, -1);
  placement.widened.assign(2 * graph.nodes.size(), -1);
  // values that a pass overwrites in place: a sum without later readers, by the next sum
  std::vector<int32_t> replaced(value_count, -1);
  std::vector<bool> is_replaced(value_count, false);
  std::vector<int32_t> readers(value_count, 0); // in the last stage that reads the value
  for (size_t n = 0; n < graph.nodes.size(); ++n)
    for (int32_t input : graph.nodes[n].inputs)
      if (input >= 0 && stage[n] >= 0 && size_t(stage[n]) == last_stage[input])
        ++readers[input];
  for (const Pass& pass : passes.all()) {
    const auto [old, value] = pass.replaced(graph);
    if (old > 0 && !in_time && is_shared[old] && is_shared[value] && readers[old] == 1 &&
        last_stage[old] == size_t(stage[pass.nodes.front()]) && !graph.values[old].constant &&
        !graph.values[value].constant && !keeps_all) {
      replaced[value] = old;
      is_replaced[old] = true;
    }
  }
  Slots slots;
  const auto slot_bytes = [&](int32_t value) {
    const Value& type = graph.values[value];
    if (has_history(value))
      return plan.history_bytes(value);
    const int64_t leading = is_static && type.constant ? 1 : steps;
    return leading * batch * type.size() * type.entry_bytes() + kReadAhead;
  };
  for (size_t value = 0; value < value_count; ++value)
    if (value == 0 || has_history(int32_t(value)))
      placement.slot[value] = slots.take(slot_bytes(int32_t(value)));
  std::vector<size_t> last_node(value_count, 0); // within the current stage; zeros between stages
  for (size_t s = 0; s < stage_count; ++s) {
    std::vector<int32_t> nodes;
    if (stages[s].root >= 0)
      nodes.push_back(stages[s].root);
    nodes.insert(nodes.end(), stages[s].chain.begin(), stages[s].chain.end());
    for (int32_t n : nodes)
      if (is_shared[n + 1] && placement.slot[n + 1] < 0)
        placement.slot[n + 1] =
            replaced[n + 1] >= 0 ? placement.slot[replaced[n + 1]] : slots.take(slot_bytes(n + 1));

    // the input of an affine op, which may be an identity, must live as long as its output; the inputs of a
    // pass must live until the pass has written all its outputs
    size_t end_of_pass = 0;
    for (size_t i = nodes.size(); i-- > 0;) {
      const Node& node = graph.nodes[nodes[i]];
      if (i + 1 == nodes.size() || !passes.is_inner(nodes[i + 1]))
        end_of_pass = i;
      for (int32_t input : node.inputs)
        if (input >= 0) {
          last_node[input] = std::max(last_node[input], end_of_pass);
          if (node.op == Op::kAffine)
            last_node[input] = std::max(last_node[input], last_node[nodes[i] + 1]);
        }
    }
    std::vector<std::vector<int32_t>> over(nodes.size()); // for each node, the values that it reads last
    for (size_t i = 0; i < nodes.size(); ++i)
      if (const size_t last = last_node[nodes[i] + 1]; last > i)
        over[last].push_back(nodes[i] + 1);
    Tile tile;
    for (size_t i = 0; i < nodes.size(); ++i) {
      const Node& node = graph.nodes[nodes[i]];
      const int32_t output = nodes[i] + 1;
      int64_t widened_bytes[2] = {0, 0};
      for (int j = 0; j < 2; ++j)
        if (node.inputs[j] >= 0 && takes_floats(node, graph.values[output]) &&
            graph.values[node.inputs[j]].max_code > 0) {
          const Value& in = graph.values[node.inputs[j]];
          const int64_t entries = computes_maps(node.op) ? in.size() : int64_t(in.width) * in.channels;
          widened_bytes[j] = entries * int64_t(sizeof(float));
          placement.widened[2 * nodes[i] + j] = tile.take(widened_bytes[j]);
        }
      // a constant is computed at the first step of a chunk and read at every step, so it shares memory with
      // no other value: not with later ones, nor with earlier ones, which are recomputed at the next step
      const bool is_constant = graph.values[output].constant;
      if (placement.slot[output] < 0 && !passes.is_spared(output))
        placement.tile[output] = tile.take(row_bytes(graph.values[output]), !is_constant);
      for (int j = 0; j < 2; ++j)
        if (widened_bytes[j] > 0)
          tile.give(placement.widened[2 * nodes[i] + j], widened_bytes[j]);
      for (int32_t value : over[i])
        if (placement.tile[value] >= 0 && !graph.values[value].constant)
          tile.give(placement.tile[value], row_bytes(graph.values[value]));
    }
    for (int32_t n : nodes) {
      last_node[n + 1] = 0;
      for (int32_t input : graph.nodes[n].inputs)
        if (input >= 0)
          last_node[input] = 0;
    }
    placement.tile_bytes = std::max(placement.tile_bytes, tile.size());

    if (keeps_all)
      continue;
    for (int32_t value : last_read[s])
      if (!is_replaced[value])
        slots.give(placement.slot[value]);
  }
  placement.slot_bytes = slots.bytes();
  return placement;
}

} // namespace hdlif
