#include "error.h"

#include "utf8.h"

namespace hdlif {
namespace {

// Return the longest prefix of at most `most` bytes that does not split a code point.
std::string_view beginning(std::string_view text, size_t most) {
  if (text.size() <= most)
    return text;
  while (most > 0 && (uint8_t(text[most]) & 0xc0) == 0x80)
    --most;
  return text.substr(0, most);
}

std::string_view ending(std::string_view text, size_t most) {
  size_t first = text.size() - most;
  while (first < text.size() && (uint8_t(text[first]) & 0xc0) == 0x80)
    ++first;
  return text.substr(first);
}

} // namespace

std::string brief(std::string_view text) {
  return text.size() <= 80 ? std::string(text) : std::string(beginning(text, 77)) + "...";
}

std::string printable(std::string_view text, size_t most) {
  constexpr char kDigits[] = "0123456789abcdef";
  constexpr std::string_view kGap = " ... ";
  std::string shown;
  for (size_t place = 0; place < text.size();) {
    const size_t start = place;
    const uint32_t code_point = next_code_point(text, place);
    const bool is_shown = is_printable(code_point);
    for (size_t i = start; i < place; ++i) {
      const auto byte = uint8_t(text[i]);
      if (is_shown)
        shown += char(byte);
      else
        (shown += "\\x").append({kDigits[byte >> 4], kDigits[byte & 15]});
    }
  }
  if (shown.size() <= most)
    return shown;
  const size_t half = (most - kGap.size()) / 2;
  return std::string(beginning(shown, half)) + std::string(kGap) + std::string(ending(shown, half));
}

} // namespace hdlif
