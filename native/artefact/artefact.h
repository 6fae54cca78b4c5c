// A deployed network read from a file: the graph, and its description.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../graph.h"
#include "error.h"
#include "input_record.h"
#include "sha256.h"

namespace hdlif {

struct Artefact {
  Graph graph;
  std::vector<std::string> values; // "input", then the names of the nodes
  std::vector<std::string> states; // "<node>.<state>", as in graph.stateful
  std::vector<std::string> labels; // names of the outputs
  InputRecord input;
  TaskRecord task;
  std::string record; // the JSON of the file
  Digest digest;
};

// Reads untrusted bytes: returns a checked network, or throws `ArtefactError`, whose message contains the
// field and a fix, or `TooLarge` if reading the JSON takes more than `max_bytes`. The bytes are not needed
// afterwards.
Artefact read_artefact(const uint8_t* bytes, size_t size, int64_t max_bytes);

} // namespace hdlif
