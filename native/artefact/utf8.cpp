#include "utf8.h"

namespace hdlif {
namespace {

// The first and last code points of unprintable ranges: categories Cc, Cf, Zs, Zl, Zp, Cs, Co and
// noncharacters.
constexpr uint32_t kUnprintable[][2] = {
    {0x0, 0x1f},        {0x7f, 0xa0},         {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
    {0x6dd, 0x6dd},     {0x70f, 0x70f},       {0x890, 0x891},     {0x8e2, 0x8e2},     {0x1680, 0x1680},
    {0x180e, 0x180e},   {0x2000, 0x200f},     {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},
    {0xd800, 0xf8ff},   {0xfdd0, 0xfdef},     {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},
    {0x110bd, 0x110bd}, {0x110cd, 0x110cd},   {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
    {0xe0000, 0xe00ff}, {0xf0000, 0xffffffff}};

} // namespace

bool is_printable(uint32_t code_point) {
  for (const auto& [first, last] : kUnprintable)
    if (code_point >= first && code_point <= last)
      return false;
  return true;
}

uint32_t next_code_point(std::string_view text, size_t& place) {
  const auto byte = [&](size_t i) { return i < text.size() ? uint8_t(text[i]) : uint8_t(0); };
  const size_t start = place++;
  const uint8_t first = byte(start);
  if (first < 0x80)
    return first;
  const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  if (first < 0xc2 || first > 0xf4)
    return kNoCodePoint;
  uint32_t code_point = first & (0x3f >> more);
  for (int i = 1; i <= more; ++i) {
    const uint8_t next = byte(start + size_t(i));
    if ((next & 0xc0) != 0x80)
      return kNoCodePoint;
    code_point = code_point << 6 | (next & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  if (code_point < kLeast[more] || code_point > 0x10ffff || (code_point >= 0xd800 && code_point < 0xe000))
    return kNoCodePoint;
  place = start + 1 + size_t(more);
  return code_point;
}

void append_code_point(std::string& text, uint32_t code_point) {
  if (code_point < 0x80) {
    text += char(code_point);
    return;
  }
  const int more = code_point >= 0x10000 ? 3 : code_point >= 0x800 ? 2 : 1;
  constexpr uint8_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
  text += char(kLead[more] | code_point >> (6 * more));
  for (int i = more - 1; i >= 0; --i)
    text += char(0x80 | (code_point >> (6 * i) & 0x3f));
}

bool is_utf8(std::string_view text) {
  for (size_t place = 0; place < text.size();)
    if (next_code_point(text, place) == kNoCodePoint)
      return false;
  return true;
}

bool is_printable_name(std::string_view text, size_t most) {
  size_t count = 0;
  for (size_t place = 0; place < text.size(); ++count)
    if (!is_printable(next_code_point(text, place)))
      return false;
  return count > 0 && count <= most;
}

bool is_identifier(std::string_view text) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || uint8_t(c) >= 0x80;
  };
  for (char c : text)
    if (!is_letter(c) && !(c >= '0' && c <= '9'))
      return false;
  return !text.empty() && is_letter(text.front());
}

} // namespace hdlif
