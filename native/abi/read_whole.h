// The content of a file that may hold an artefact.
#pragma once

#include <cstdint>
#include <vector>

namespace hdlif {

// Of a regular file of at most kMaxFileBytes; never waits. Throws `CallError`.
std::vector<uint8_t> read_whole(const char* path);

} // namespace hdlif
