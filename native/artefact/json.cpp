#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <locale>
#include <sstream>
#include <utility>

#include "utf8.h"

namespace hdlif {
namespace {

uint32_t hex4(std::string_view text, size_t place) {
  uint32_t found = 0;
  for (size_t i = place; i < place + 4; ++i) {
    const char c = i < text.size() ? text[i] : ' ';
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0)
      return kNoCodePoint;
    found = found << 4 | uint32_t(digit);
  }
  return found;
}

// Return the code point after "\u" at `place`, from two escapes if the first is a high surrogate. Moves
// `place` after it.
uint32_t escaped_code_point(std::string_view text, size_t& place) {
  const uint32_t first = hex4(text, place);
  place += 4;
  if (first == kNoCodePoint || first < 0xd800 || first >= 0xe000)
    return first;
  if (first >= 0xdc00 || text.substr(std::min(place, text.size()), 2) != "\\u")
    return kNoCodePoint;
  const uint32_t second = hex4(text, place + 2);
  place += 6;
  if (second == kNoCodePoint || second < 0xdc00 || second >= 0xe000)
    return kNoCodePoint;
  return 0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00));
}

// Return the power of ten of a number's first non-zero digit, which distinguishes overflow from underflow.
double magnitude(std::string_view text) {
  const size_t e = std::min(text.find_first_of("eE"), text.size());
  const std::string_view mantissa = text.substr(0, e);
  const size_t point = std::min(mantissa.find('.'), mantissa.size());
  const size_t first = mantissa.find_first_of("123456789");
  double exponent = 0;
  for (size_t i = e + 1; i < text.size(); ++i)
    if (text[i] >= '0' && text[i] <= '9')
      exponent = std::min(10 * exponent + (text[i] - '0'), 1e15);
  if (e + 1 < text.size() && text[e + 1] == '-')
    exponent = -exponent;
  return exponent + (first < point ? double(point - first) : -double(first - point));
}

// Return the double nearest to a JSON number, in any locale.
double nearest_double(std::string_view text) {
#if defined(__cpp_lib_to_chars)
  double found = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), found).ec == std::errc())
    return found;
  const double beyond = magnitude(text) > 0 ? std::numeric_limits<double>::infinity() : 0.0;
  return text.front() == '-' ? -beyond : beyond;
#elif defined(__EMSCRIPTEN__)
  return std::strtod(std::string(text).c_str(), nullptr); // there is only one locale
#else
  std::istringstream stream{std::string(text)};
  stream.imbue(std::locale::classic());
  double found = 0;
  if (stream >> found)
    return found;
  const double beyond = magnitude(text) > 0 ? std::numeric_limits<double>::infinity() : 0.0;
  return text.front() == '-' ? -beyond : beyond;
#endif
}

} // namespace

class JsonParser {
public:
  JsonParser(JsonDocument& document, const JsonLimits& limits)
      : document_(document), text_(document.text_), limits_(limits) {}

  void parse() {
    skip_space();
    value(0);
    skip_space();
    if (place_ < text_.size())
      refuse("unexpected text after the value");
  }

private:
  using Entry = JsonDocument::Entry;

  [[noreturn]] void refuse(const char* what) const {
    throw JsonError(std::string(what) + " (byte " + std::to_string(place_) + ")");
  }

  char here() const { return place_ < text_.size() ? text_[place_] : '\0'; }

  void skip_space() {
    while (here() == ' ' || here() == '\t' || here() == '\n' || here() == '\r')
      ++place_;
  }

  uint32_t begin(JsonKind kind) {
    std::vector<Entry>& entries = document_.entries_;
    const auto most = size_t(std::clamp<int64_t>(limits_.bytes, 0, PTRDIFF_MAX)) / sizeof(Entry);
    if (entries.size() >= most || entries.size() >= UINT32_MAX - 1)
      throw JsonTooLarge();
    // a vector that doubles in size could exceed the limit while it is copied
    if (entries.size() == entries.capacity())
      entries.reserve(std::min(most, entries.size() + entries.size() / 2 + 64));
    entries.push_back({uint32_t(place_), 0, 0, 0, kind, false});
    return uint32_t(entries.size() - 1);
  }

  void end(uint32_t index, size_t end) {
    document_.entries_[index].end = uint32_t(end);
    document_.entries_[index].after = uint32_t(document_.entries_.size());
  }

  void value(int depth) {
    if (depth > limits_.depth)
      refuse("lists and objects are nested too deeply");
    switch (here()) {
    case '{':
      return object(depth);
    case '[':
      return list(depth);
    case '"':
      return string();
    case 't':
      return word("true", JsonKind::kBoolean);
    case 'f':
      return word("false", JsonKind::kBoolean);
    case 'n':
      return word("null", JsonKind::kNull);
    default:
      return number();
    }
  }

  void word(std::string_view expected, JsonKind kind) {
    if (text_.substr(place_, expected.size()) != expected)
      refuse("expected a value");
    const uint32_t index = begin(kind);
    place_ += expected.size();
    end(index, place_);
  }

  bool digits() {
    const size_t first = place_;
    while (here() >= '0' && here() <= '9')
      ++place_;
    return place_ > first;
  }

  void number() {
    const size_t first = place_;
    const uint32_t index = begin(JsonKind::kInteger);
    if (here() == '-')
      ++place_;
    const bool leads_with_zero = here() == '0';
    const size_t integer = place_;
    if (!digits() || (leads_with_zero && place_ - integer > 1))
      refuse("expected a value");
    bool is_real = false;
    if (here() == '.') {
      is_real = true;
      ++place_;
      if (!digits())
        refuse("expected a digit");
    }
    if (here() == 'e' || here() == 'E') {
      is_real = true;
      ++place_;
      if (here() == '+' || here() == '-')
        ++place_;
      if (!digits())
        refuse("expected a digit");
    }
    if (is_real)
      document_.entries_[index].kind = JsonKind::kReal;
    else if (place_ - first > limits_.digits)
      refuse("an integer has too many digits");
    end(index, place_);
  }

  void string() {
    ++place_;
    const uint32_t index = begin(JsonKind::kString);
    while (here() != '"') {
      if (place_ >= text_.size())
        refuse("a string has no closing quote");
      if (uint8_t(here()) < 0x20)
        refuse("a string contains a control character");
      if (here() != '\\') {
        ++place_;
        continue;
      }
      document_.entries_[index].has_escapes = true;
      ++place_;
      if (here() == 'u') {
        size_t next = place_ + 1;
        if (escaped_code_point(text_, next) == kNoCodePoint)
          refuse("an escape does not encode a character");
        place_ = next;
      } else if (place_ < text_.size() &&
                 std::string_view("\"\\/bfnrt").find(here()) != std::string_view::npos) {
        ++place_;
      } else {
        refuse("unknown escape");
      }
    }
    end(index, place_);
    ++place_;
  }

  void list(int depth) {
    const uint32_t index = begin(JsonKind::kList);
    ++place_;
    skip_space();
    uint32_t count = 0;
    if (here() != ']')
      do {
        skip_space();
        value(depth + 1);
        skip_space();
        ++count;
      } while (goes_on(']'));
    ++place_;
    document_.entries_[index].count = count;
    end(index, place_);
  }

  void object(int depth) {
    const uint32_t index = begin(JsonKind::kObject);
    ++place_;
    skip_space();
    uint32_t count = 0;
    if (here() != '}')
      do {
        skip_space();
        if (here() != '"')
          refuse("expected a key");
        string();
        skip_space();
        if (here() != ':')
          refuse("expected a colon");
        ++place_;
        skip_space();
        value(depth + 1);
        skip_space();
        ++count;
      } while (goes_on('}'));
    ++place_;
    document_.entries_[index].count = count;
    end(index, place_);
    refuse_duplicates(index);
  }

  bool goes_on(char closing) {
    if (here() == ',') {
      ++place_;
      return true;
    }
    if (here() != closing)
      refuse("expected a comma or the end of a list or an object");
    return false;
  }

  void refuse_duplicates(uint32_t object) {
    const std::vector<Entry>& entries = document_.entries_;
    const uint32_t count = entries[object].count;
    std::vector<std::string_view> keys;
    std::vector<std::string> resolved; // keys with escapes, resolved
    keys.reserve(count);
    uint32_t with_escapes = 0;
    for (uint32_t i = 0, at = object + 1; i < count; ++i, at = entries[at + 1].after)
      with_escapes += entries[at].has_escapes;
    resolved.reserve(with_escapes); // keeps views of its strings valid
    for (uint32_t i = 0, at = object + 1; i < count; ++i, at = entries[at + 1].after)
      if (entries[at].has_escapes)
        keys.push_back(resolved.emplace_back(document_.string_at(at)));
      else
        keys.push_back(text_.substr(entries[at].begin, entries[at].end - entries[at].begin));
    std::sort(keys.begin(), keys.end());
    if (std::adjacent_find(keys.begin(), keys.end()) != keys.end())
      refuse("an object has the same key twice");
  }

  JsonDocument& document_;
  const std::string_view text_;
  const JsonLimits& limits_;
  size_t place_ = 0;
};

JsonDocument::JsonDocument(std::string_view text, const JsonLimits& limits) : text_(text) {
  if (text.size() >= UINT32_MAX)
    throw JsonError("it has 2^32 bytes or more");
  if (!is_utf8(text))
    throw JsonError("it is not UTF-8");
  JsonParser(*this, limits).parse();
}

std::string JsonDocument::string_at(uint32_t index) const {
  const Entry& entry = entries_[index];
  const std::string_view raw = text_.substr(entry.begin, entry.end - entry.begin);
  if (!entry.has_escapes)
    return std::string(raw);
  std::string found;
  for (size_t place = 0; place < raw.size();) {
    if (raw[place] != '\\') {
      found += raw[place++];
      continue;
    }
    const char escape = raw[place + 1];
    place += 2;
    if (escape == 'u') {
      append_code_point(found, escaped_code_point(raw, place));
    } else {
      const size_t which = std::string_view("bfnrt").find(escape);
      found += which == std::string_view::npos ? escape : "\b\f\n\r\t"[which];
    }
  }
  return found;
}

JsonKind Json::kind() const {
  return document_->entries_[index_].kind;
}

size_t Json::count() const {
  return document_->entries_[index_].count;
}

std::string_view Json::text() const {
  const JsonDocument::Entry& entry = document_->entries_[index_];
  const size_t quote = entry.kind == JsonKind::kString ? 1 : 0;
  return document_->text_.substr(entry.begin - quote, entry.end - entry.begin + 2 * quote);
}

bool Json::boolean() const {
  return text().front() == 't';
}

std::optional<int64_t> Json::integer() const {
  int64_t found = 0;
  const std::string_view digits = text();
  if (!is(JsonKind::kInteger) ||
      std::from_chars(digits.data(), digits.data() + digits.size(), found).ec != std::errc())
    return std::nullopt;
  return found;
}

double Json::number() const {
  return nearest_double(text());
}

std::string Json::string() const {
  return document_->string_at(index_);
}

std::optional<Json> Json::find(std::string_view key) const {
  const std::vector<JsonDocument::Entry>& entries = document_->entries_;
  uint32_t at = index_ + 1;
  for (uint32_t i = 0; i < entries[index_].count; ++i, at = entries[at + 1].after)
    if (entries[at].has_escapes
            ? document_->string_at(at) == key
            : document_->text_.substr(entries[at].begin, entries[at].end - entries[at].begin) == key)
      return document_->value(at + 1);
  return std::nullopt;
}

} // namespace hdlif
