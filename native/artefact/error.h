// Errors of the model file format, and the printing of file content in messages.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace hdlif {

// Thrown if the file is not a model file, or is damaged.
class ArtefactError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

// Thrown if reading the file exceeds the memory limit.
class TooLarge : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

constexpr const char* kDamaged = "; the file is damaged, export it again";

// Return at most 80 bytes of text from a file, in UTF-8.
std::string brief(std::string_view text);

// Return a text as one line. Escapes unprintable characters and invalid UTF-8, and shortens long text to its
// beginning and end, with at most `most` bytes in total.
std::string printable(std::string_view text, size_t most);

} // namespace hdlif
