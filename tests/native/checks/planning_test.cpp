// Plans and runs a network of many small nodes, for a count of the instructions that this takes.
//
//   planning_test chain|stages|wide NODES
#include <cstdio>
#include <cstdlib>
#include <string>

#include "encoded_program.h"
#include "session.h"

using namespace hdlif;

namespace {

// The words of a node that reads values `first` and, if it is one, `second`.
std::vector<int32_t> node(Op op, int32_t first, int32_t second = -1) {
  std::vector<int32_t> words(kNodeWords, 0);
  words[kOp] = int32_t(op);
  words[kInput0] = first;
  words[kInput1] = second;
  words[kSource] = words[kScalar] = -1;
  const int tensors = op == Op::kAffine ? 2 : 0;
  for (int i = 0; i < kMaxTensors; ++i) {
    words[kTensors + 3 * i] = i < tensors ? 0 : -1;
    words[kTensors + 3 * i + 1] = words[kTensors + 3 * i + 2] = i < tensors ? 1 : 0;
  }
  if (op == Op::kMaxPool)
    words[kKernelY] = words[kKernelX] = words[kStrideY] = words[kStrideX] = 1;
  return words;
}

std::vector<int32_t> drawn(const std::string& kind, int32_t i, int32_t nodes) {
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
  EncodedProgram p;
  p.words = {kFormVersion, 2, 1, 1, 1, nodes, nodes, 0};
  const float one = 1;
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&one);
  p.buffers = {{bytes, bytes + sizeof(one)}};
  for (int32_t i = 0; i < nodes; ++i) {
    const std::vector<int32_t> words = i + 1 < nodes ? drawn(kind, i, nodes - 1) : node(Op::kFlatten, i);
    p.words.insert(p.words.end(), words.begin(), words.end());
  }
  const Kernels* tables[8];
  const Kernels& kernels = *tables[available_kernels(tables, 8) - 1];
  Session session(p.read(), 1, kernels);
  const float x[2] = {1, 2};
  float logits[2];
  session.run_bytes(1, 2, false, false, true);
  session.run(x, 2, 1, 2, 0, nullptr, logits);
  std::printf("%d nodes\n", nodes);
}
