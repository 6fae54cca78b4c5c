// Reads a file that may be a model file.
#pragma once

#include <cstdint>
#include <vector>

namespace hdlif {

// Returns the content of a regular file of at most kMaxFileBytes; never blocks. Throws `CallError`.
std::vector<uint8_t> read_whole(const char* path);

} // namespace hdlif
