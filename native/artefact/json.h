// A strict reader of JSON (RFC 8259): UTF-8 without overlong forms or lone surrogates, no key twice in an
// object, no NaN or infinity, no comma at an end, nothing behind the value, bounded nesting.
//
// A document is a list of its values in the order of the text, each of 24 bytes beside the text itself; what
// is within a list or an object follows it, and it says where this ends.
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

// Its list of values would take more memory than it may.
class JsonTooLarge : public std::runtime_error {
public:
  JsonTooLarge() : std::runtime_error("the list of values takes more memory than allowed") {}
};

enum class JsonKind : uint8_t { kNull, kBoolean, kInteger, kReal, kString, kList, kObject };

class JsonDocument;

// A value of a document, which outlives it.
class Json {
public:
  JsonKind kind() const;
  bool is(JsonKind which) const { return kind() == which; }
  bool is_number() const { return is(JsonKind::kInteger) || is(JsonKind::kReal); }

  // Of a list its entries, of an object its members.
  size_t count() const;
  // As it stands in the file.
  std::string_view text() const;

  bool boolean() const;
  // Of an integer that an int64 holds.
  std::optional<int64_t> integer() const;
  // The nearest double of a number; infinite where it is beyond the largest one.
  double number() const;
  // Of a string, with its escapes resolved.
  std::string string() const;

  // Calls each(value) for the entries of a list.
  template <typename Each> void entries(const Each& each) const;
  // Calls each(key, value) for the members of an object.
  template <typename Each> void members(const Each& each) const;
  // A member of an object; without one, none.
  std::optional<Json> find(std::string_view key) const;

private:
  friend class JsonDocument;
  Json(const JsonDocument& document, uint32_t index) : document_(&document), index_(index) {}

  const JsonDocument* document_;
  uint32_t index_;
};

struct JsonLimits {
  int depth = 32;
  size_t digits = 1000;             // of an integer, its sign too
  int64_t bytes = int64_t(1) << 32; // of the list of values
};

class JsonDocument {
public:
  // `text` outlives the document. Throws `JsonError`, which says where and why, and `JsonTooLarge` beyond
  // `limits.bytes`.
  JsonDocument(std::string_view text, const JsonLimits& limits = {});
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  Json root() const { return Json(*this, 0); }

private:
  friend class Json;
  friend class JsonParser;

  struct Entry {
    uint32_t begin, end; // in the text: of a string what is between its quotes
    uint32_t count;      // of entries or members
    uint32_t after;      // the value behind this one and what it holds
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
