#include "artefact.h"

#include <optional>
#include <utility>

#include "fields.h"
#include "file.h"
#include "json.h"
#include "node_record.h"

namespace hdlif {
namespace {

using Numbers = std::map<std::string, int32_t>;

std::string place_of(size_t index) {
  return "nodes[" + std::to_string(index) + "]";
}

// The number of every value by its name.
Numbers number_values(const Json& nodes, std::vector<std::string>& names) {
  Numbers numbers{{"input", 0}};
  names.push_back("input");
  nodes.entries([&](const Json& node) {
    const std::string where = place_of(names.size() - 1);
    check_object(where, node, {"attributes", "inputs", "name", "op", "tensors"});
    std::string name = string_of(where + ".name", member(node, "name"));
    if (!numbers.emplace(name, int32_t(names.size())).second)
      throw ArtefactError(where + ".name = " + brief(name) + ": two values have this name" + kDamaged);
    names.push_back(std::move(name));
  });
  return numbers;
}

// What the flat form does not hold: how many channels a weight was made for.
void check_channels(const Program& program, const std::vector<int64_t>& in_channels,
                    const std::vector<std::string>& names) {
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const int32_t channels = program.values[size_t(program.nodes[n].inputs[0])].channels;
    if (in_channels[n] >= 0 && in_channels[n] != channels)
      throw ArtefactError(brief(names[n + 1]) + ".weight is of " + std::to_string(in_channels[n]) +
                          " input channels; its input has " + std::to_string(channels) + kDamaged);
  }
}

} // namespace

std::string with_names(const std::string& message, const std::vector<std::string>& values) {
  constexpr std::string_view kNode = "node ";
  const size_t place = message.find(kNode);
  size_t end = place == std::string::npos ? place : place + kNode.size(), node = 0;
  for (; end < message.size() && message[end] >= '0' && message[end] <= '9'; ++end)
    node = 10 * node + size_t(message[end] - '0');
  if (place == std::string::npos || end == place + kNode.size() || node + 1 >= values.size())
    return message;
  return message.substr(0, place + kNode.size()) + brief(values[node + 1]) + message.substr(end);
}

Artefact read_artefact(const uint8_t* bytes, size_t size, int64_t max_bytes) {
  File file = read_file(bytes, size, max_bytes);
  Artefact found;
  found.graph = std::move(file.graph);
  found.digest = file.digest;
  const JsonDocument document(found.graph); // was read within its limits before
  const Json graph = document.root();
  check_object("hdlif", graph, {"digest", "format", "input", "labels", "nodes", "output", "time_steps"},
               {"task"});
  const auto time_steps = int32_t(integer_of("time_steps", member(graph, "time_steps"), 1, (1 << 15) - 1));
  found.input = read_input(member(graph, "input"), time_steps);
  const Json labels = member(graph, "labels"), nodes = member(graph, "nodes");
  check_list("labels", labels);
  labels.entries([&](const Json& label) { found.labels.push_back(string_of("labels", label)); });
  if (const std::optional<Json> task = graph.find("task"))
    check_task(*task, time_steps, found.labels.size());
  check_list("nodes", nodes);
  if (nodes.count() > size_t(kMaxNodes))
    throw ArtefactError("the graph has " + std::to_string(nodes.count()) +
                        " nodes; it may have at most 2^17");
  const Numbers numbers = number_values(nodes, found.values);

  FlatProgram flat;
  const std::array<int32_t, 3>& shape = found.input.shape;
  flat.words = {kFormVersion, time_steps, shape[0], shape[1], shape[2], int32_t(nodes.count()), 0, 0};
  std::vector<int64_t> in_channels;
  nodes.entries([&](const Json& entry) {
    NodeRecord node(entry, place_of(in_channels.size()), file, numbers, flat);
    node.lower();
    in_channels.push_back(node.in_channels());
    for (const std::string& state : node.states())
      found.states.push_back(node.name() + "." + state);
  });
  for (const auto& [key, tensor] : file.tensors)
    if (!tensor.is_used)
      throw ArtefactError("tensor " + brief(key) + " belongs to no node" + kDamaged);
  const std::string output = string_of("output", member(graph, "output"));
  const auto place = numbers.find(output);
  if (place == numbers.end())
    throw ArtefactError("output = " + brief(output) + " is no value of the graph" + kDamaged);
  flat.words[6] = place->second;
  flat.words[7] = int32_t(flat.equations.size());
  flat.words.insert(flat.words.end(), flat.equations.begin(), flat.equations.end());
  try {
    found.program = read_program(flat.words.data(), flat.words.size(), flat.scalars.data(),
                                 flat.scalars.size(), flat.buffers);
  } catch (const ProgramError& error) {
    throw ArtefactError(with_names(error.what(), found.values) + kDamaged);
  }
  check_channels(found.program, in_channels, found.values);
  const int32_t outputs = found.program.values[size_t(found.program.output)].channels;
  if (size_t(outputs) != found.labels.size())
    throw ArtefactError("output has " + std::to_string(outputs) + " entries, and there are " +
                        std::to_string(found.labels.size()) + " labels" + kDamaged);
  return found;
}

} // namespace hdlif
