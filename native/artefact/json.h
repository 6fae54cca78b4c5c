// A strict reader of JSON (RFC 8259). It rejects overlong UTF-8, lone surrogates, duplicate keys, NaN,
// infinity, trailing commas, text after the value, and nesting beyond the limit.
//
// A document is a list of its values in the order of the text, 24 bytes each in addition to the text. The
// content of a list or an object follows its entry, which stores where the content ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace hdlif {

class JsonError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

// Thrown if the list of values would exceed the memory limit.
class JsonTooLarge : public std::runtime_error {
public:
  JsonTooLarge() : std::runtime_error("the list of values takes more memory than allowed") {}
};

enum class JsonKind : uint8_t { kNull, kBoolean, kInteger, kReal, kString, kList, kObject };

class JsonDocument;

// A value of a document. The document must outlive it.
class Json {
public:
  JsonKind kind() const;
  bool is(JsonKind which) const { return kind() == which; }
  bool is_number() const { return is(JsonKind::kInteger) || is(JsonKind::kReal); }

  // Return the number of entries of a list, or of members of an object.
  size_t count() const;
  // Return the text of the value in the file.
  std::string_view text() const;

  bool boolean() const;
  // Return the value of an integer, or none if it does not fit in an int64.
  std::optional<int64_t> integer() const;
  // Return the double nearest to a number; infinite if the number is too large.
  double number() const;
  // Return the content of a string, with escapes resolved.
  std::string string() const;

  // Calls each(value) for the entries of a list.
  template <typename Each> void entries(const Each& each) const;
  // Calls each(key, value) for the members of an object.
  template <typename Each> void members(const Each& each) const;
  // Return the member of an object with this key, or none.
  std::optional<Json> find(std::string_view key) const;

private:
  friend class JsonDocument;
  Json(const JsonDocument& document, uint32_t index) : document_(&document), index_(index) {}

  const JsonDocument* document_;
  uint32_t index_;
};

struct JsonLimits {
  int depth = 32;
  size_t digits = 1000;             // maximum length of an integer, including its sign
  int64_t bytes = int64_t(1) << 32; // maximum size of the list of values
};

class JsonDocument {
public:
  // `text` must outlive the document. Throws `JsonError` with the place and the reason, and `JsonTooLarge` if
  // the list of values exceeds `limits.bytes`.
  JsonDocument(std::string_view text, const JsonLimits& limits = {});
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  Json root() const { return Json(*this, 0); }

private:
  friend class Json;
  friend class JsonParser;

  struct Entry {
    uint32_t begin, end; // range in the text; for a string, without quotes
    uint32_t count;      // number of entries or members
    uint32_t after;      // index of the next value after this one and its content
    JsonKind kind;
    bool has_escapes;
  };

  std::string string_at(uint32_t index) const;
  Json value(uint32_t index) const { return Json(*this, index); }

  std::string_view text_;
  std::vector<Entry> entries_;
};

template <typename Each> void Json::entries(const Each& each) const {
  const JsonDocument::Entry& own = document_->entries_[index_];
  uint32_t at = index_ + 1;
  for (uint32_t i = 0; i < own.count; ++i, at = document_->entries_[at].after)
    each(document_->value(at));
}

template <typename Each> void Json::members(const Each& each) const {
  const JsonDocument::Entry& own = document_->entries_[index_];
  uint32_t at = index_ + 1;
  for (uint32_t i = 0; i < own.count; ++i, at = document_->entries_[at + 1].after)
    each(document_->string_at(at), document_->value(at + 1));
}

} // namespace hdlif
