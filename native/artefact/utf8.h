// Code points of a text in UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hdlif {

constexpr uint32_t kNoCodePoint = 0xffffffff;

// The code point that begins at `place`, which moves behind it; kNoCodePoint, and one byte further, where
// none does: overlong forms, surrogates and what is beyond U+10FFFF are none.
uint32_t next_code_point(std::string_view text, size_t& place);

void append_code_point(std::string& text, uint32_t code_point);

bool is_utf8(std::string_view text);

// Whether it takes room on a line as it is: no control or format character, no space but " ", no private or
// no character. Those that Unicode has not assigned yet pass.
bool is_printable(uint32_t code_point);

// Not empty, at most `most` code points, all printable.
bool is_printable_name(std::string_view text, size_t most);

// Of ASCII letters, digits, underscores and code points beyond ASCII, the first one no digit.
bool is_identifier(std::string_view text);

} // namespace hdlif
