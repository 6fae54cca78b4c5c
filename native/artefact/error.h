// What breaks the format of an artefact, and how errors name what a file holds.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace hdlif {

// The file is no artefact, or a damaged one.
class ArtefactError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

// Reading it takes more memory than it may.
class TooLarge : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

constexpr const char* kDamaged = "; the file is damaged, export it again";

// At most 80 bytes of what a file holds, in UTF-8.
std::string brief(std::string_view text);

// In one line: what is not printable, bytes that are no UTF-8 too, is escaped; of a long text, the beginning
// and the end, `most` bytes in all.
std::string printable(std::string_view text, size_t most);

} // namespace hdlif
