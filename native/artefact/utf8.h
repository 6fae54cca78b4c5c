// Reads and checks code points of UTF-8 text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hdlif {

constexpr uint32_t kNoCodePoint = 0xffffffff;

// Return the code point at `place`, and move `place` after it. If there is no valid code point, return
// kNoCodePoint and move by one byte. Overlong forms, surrogates and values above U+10FFFF are invalid.
uint32_t next_code_point(std::string_view text, size_t& place);

void append_code_point(std::string& text, uint32_t code_point);

bool is_utf8(std::string_view text);

// Return whether a code point can be printed in a line. Control and format characters, spaces except " ",
// private-use code points and noncharacters cannot; code points that Unicode has not assigned yet can.
bool is_printable(uint32_t code_point);

// Return whether a text has 1 to `most` code points, all printable.
bool is_printable_name(std::string_view text, size_t most);

// Return whether a text has only ASCII letters, digits, underscores and non-ASCII code points, and does not
// begin with a digit.
bool is_identifier(std::string_view text);

} // namespace hdlif
