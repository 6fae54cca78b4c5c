#include "artefact.h"

#include <optional>
#include <utility>

#include "fields.h"
#include "file.h"
#include "json.h"
#include "node_reader.h"

namespace hdlif {
namespace {

std::string place_of(size_t index) {
  return "nodes[" + std::to_string(index) + "]";
}

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

// Checks the sources of delays after all nodes are read, because a source may follow its delay.
void check_sources(const Graph& graph, const std::vector<std::string>& names) {
  for (int32_t n : graph.delays) {
    const int32_t source = graph.nodes[size_t(n)].source;
    const Value &own = graph.values[size_t(n) + 1], &of = graph.values[size_t(source)];
    if (own.channels != of.channels || own.height != of.height || own.width != of.width ||
        own.is_map != of.is_map || own.max_code != of.max_code)
      throw ArtefactError(brief(names[size_t(n) + 1]) + ": source " + brief(names[size_t(source)]) +
                          " does not have the delay's input shape and max_code" + kDamaged);
  }
}

// Sets the output, and checks its type against the task and the labels.
void read_output(const Json& record, const Numbers& numbers, const Artefact& found, Graph& graph) {
  const std::string output = string_of("output", member(record, "output"));
  const auto place = numbers.find(output);
  if (place == numbers.end())
    throw ArtefactError("output = " + brief(output) + " is not a value of the graph" + kDamaged);
  graph.output = place->second;
  const Value& type = graph.values[size_t(graph.output)];
  if (type.is_map != found.task.has_maps)
    throw ArtefactError("output = " + brief(output) + " is not a " +
                        (found.task.has_maps ? "map" : "vector") + ", which the task requires" + kDamaged);
  const InputRecord& input = found.input;
  const size_t labels = found.labels.size();
  if ((found.task.has_maps || found.task.has_boxes) &&
      ((input.kind != "image" && input.kind != "events") || input.frames != "constant"))
    throw ArtefactError(std::string("this task takes whole images or frames of events at each step") +
                        kDamaged);
  if (found.task.has_maps && (found.task.has_objects ? labels != 3 : labels > 255))
    throw ArtefactError("there are " + std::to_string(labels) +
                        " labels; \"segment\" takes at most 255 labels and \"instances\" exactly 3" +
                        kDamaged);
  if (const int64_t needed = found.task.outputs(labels, input.shape); type.channels != needed)
    throw ArtefactError("output has " + std::to_string(type.channels) + " channels; " +
                        std::to_string(labels) + " labels need " + std::to_string(needed) + kDamaged);
}

// Checks the record of a network that has learned on a device: the network that it started from.
void check_learned(const Json& learned) {
  check_object("learned", learned, {"from", "level", "updates"});
  const Json from = member(learned, "from");
  const std::string digest = string_of("learned.from", from);
  if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
    refuse("learned.from", from, "a SHA-256 digest of 64 lower-case hexadecimal digits");
  word_of("learned.level", member(learned, "level"), {"classifier", "affine", "last-block", "all"});
  integer_of("learned.updates", member(learned, "updates"), 1, (int64_t(1) << 53) - 1);
}

} // namespace

Artefact read_artefact(const uint8_t* bytes, size_t size, int64_t max_bytes) {
  File file = read_file(bytes, size, max_bytes);
  Artefact found;
  found.record = std::move(file.record);
  found.digest = file.digest;
  const JsonDocument document(found.record); // already parsed within its limits
  const Json record = document.root();
  check_object("hdlif", record, {"digest", "format", "input", "labels", "nodes", "output", "time_steps"},
               {"confidence", "learned", "task"});
  const auto time_steps = int32_t(integer_of("time_steps", member(record, "time_steps"), 1, (1 << 15) - 1));
  found.input = read_input(member(record, "input"), time_steps);
  const Json labels = member(record, "labels"), nodes = member(record, "nodes");
  check_list("labels", labels);
  labels.entries([&](const Json& label) { found.labels.push_back(string_of("labels", label)); });
  if (const std::optional<Json> task = record.find("task"))
    found.task = read_task(*task, time_steps, found.labels.size());
  if (const std::optional<Json> confidence = record.find("confidence")) {
    const double least = float_of("confidence", *confidence);
    if (!(least >= 0 && least <= 1) || !found.task.classifies)
      refuse("confidence", *confidence, "in 0..1, and task.kind must be \"classify\"");
  }
  if (const std::optional<Json> learned = record.find("learned"))
    check_learned(*learned);
  check_list("nodes", nodes);
  if (nodes.count() > size_t(kMaxNodes))
    throw ArtefactError("the graph has " + std::to_string(nodes.count()) +
                        " nodes; it may have at most 131072");
  const Numbers numbers = number_values(nodes, found.values);

  Graph& graph = found.graph;
  graph.time_steps = time_steps;
  const std::array<int32_t, 3>& shape = found.input.shape;
  graph.values = {{shape[0], shape[1], shape[2], true, 0, true}};
  nodes.entries([&](const Json& entry) {
    NodeReader node(entry, place_of(graph.nodes.size()), file, numbers, graph);
    node.read();
    for (const std::string& state : node.states())
      found.states.push_back(node.name() + "." + state);
  });
  for (const auto& [key, tensor] : file.tensors)
    if (!tensor.is_used)
      throw ArtefactError("tensor " + brief(key) + " belongs to no node" + kDamaged);
  check_sources(graph, found.values);
  read_output(record, numbers, found, graph);
  return found;
}

} // namespace hdlif
