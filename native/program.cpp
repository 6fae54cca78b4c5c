#include "program.h"

#include "reader.h"

namespace hdlif {
namespace {

void require(bool holds, const char* message) {
  if (!holds)
    throw ProgramError(std::string("program: ") + message);
}

} // namespace

Program read_program(const int32_t* words, size_t count, const float* scalars, size_t scalar_count,
                     const std::vector<Buffer>& buffers) {
  require(count >= kHeaderWords, "it is shorter than its header");
  require(words[0] == kFormVersion, "form version is unknown");
  require(words[1] >= 1 && words[1] < (1 << 15), "time steps are out of range");
  const int32_t channels = words[2], height = words[3], width = words[4], nodes = words[5];
  const int32_t equation_words = words[7];
  require(channels >= 1 && height >= 1 && width >= 1, "input shape is not positive");
  require(int64_t(height) * width <= kMaxElements / channels, "input has too many entries");
  require(nodes >= 0 && equation_words >= 0 &&
              count == kHeaderWords + size_t(nodes) * kNodeWords + size_t(equation_words),
          "node count does not fit its length");
  require(nodes <= kMaxNodes, "it has more than 2^17 nodes");
  Program program{words[1], words[6], {{channels, height, width, true, 0, true}}, {}, {}, {}};
  const int32_t* equations = words + kHeaderWords + int64_t(nodes) * kNodeWords;
  Reader reader(scalars, scalar_count, buffers, equations, equation_words, program);
  for (int32_t i = 0; i < nodes; ++i)
    reader.read_node(words + kHeaderWords + int64_t(i) * kNodeWords, i);
  for (int32_t n : program.delays) {
    const std::string node = "node " + std::to_string(n) + ": ";
    const int32_t source = program.nodes[n].source;
    if (source < 0 || source > nodes)
      throw ProgramError(node + "source is no value");
    const Value &own = program.values[n + 1], &of = program.values[source];
    if (own.channels != of.channels || own.height != of.height || own.width != of.width ||
        own.is_map != of.is_map || own.max_code != of.max_code)
      throw ProgramError(node + "source has another type");
  }
  require(program.output >= 0 && program.output <= nodes, "output is no value");
  require(!program.values[program.output].is_map, "output is not a vector");
  return program;
}

} // namespace hdlif
