// A deployed network as a file holds it: the graph that runs, and what people and callers ask of it.
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
  std::vector<std::string> values; // names, "input" and then the nodes'
  std::vector<std::string> states; // "<node>.<state>", as in graph.stateful
  std::vector<std::string> labels; // of the outputs
  InputRecord input;
  TaskRecord task;
  std::string record; // the JSON of the file
  Digest digest;
};

// Trusts nothing: whatever the bytes are, the outcome is a checked network or `ArtefactError`, which names
// field and mend, or `TooLarge` where reading its JSON takes more than `max_bytes`. The bytes are not needed
// afterwards.
Artefact read_artefact(const uint8_t* bytes, size_t size, int64_t max_bytes);

} // namespace hdlif
