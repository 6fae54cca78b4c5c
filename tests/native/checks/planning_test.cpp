// Plans and runs a network of many small nodes, for a count of the instructions that this takes.
//
//   planning_test chain|stages|wide NODES
#include <cstdio>
#include <cstdlib>
#include <string>

#include "session.h"

using namespace hdlif;

namespace {

// A node that reads values `first` and, if it is one, `second`.
Node node(Op op, int32_t first, int32_t second = -1) {
  Node made{};
  made.op = op;
  made.inputs = {first, second};
  if (op == Op::kAffine)
    made.rows.assign(2, Rows{1, 1, {1.0f}});
  return made;
}

Node drawn(const std::string& kind, int32_t i, int32_t nodes) {
  if (kind == "chain") // one stage, of values that live for different times
    return i % 3 < 2 ? node(Op::kAffine, i) : node(Op::kAdd, i, i > 3 ? i - 3 : i);
  if (kind == "stages") // as many stages as nodes
    return node(Op::kMaxPool, i);
  // values that are all made before any is read
  return i < nodes / 2 ? node(Op::kMaxPool, 0) : node(Op::kAdd, i, i - nodes / 2 + 1);
}

} // namespace

int main(int count, char** arguments) {
  if (count != 3)
    return 1;
  const std::string kind = arguments[1];
  const int32_t nodes = std::atoi(arguments[2]);
  Graph graph;
  graph.time_steps = 2;
  graph.output = nodes;
  graph.values.assign(size_t(nodes) + 1, {1, 1, 1, true, 0, true});
  graph.values.back().is_map = false;
  for (int32_t i = 0; i < nodes; ++i)
    graph.nodes.push_back(i + 1 < nodes ? drawn(kind, i, nodes - 1) : node(Op::kFlatten, i));
  const Kernels* tables[8];
  const Kernels& kernels = *tables[available_kernels(tables, 8) - 1];
  Session session(std::move(graph), 1, kernels);
  const float x[2] = {1, 2};
  float logits[2];
  session.run_bytes(1, 2, false, false, true);
  session.run(x, 2, 1, 2, 0, nullptr, logits);
  std::printf("%d nodes\n", nodes);
}
