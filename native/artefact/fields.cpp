#include "fields.h"

#include <algorithm>

#include "../graph.h"

namespace hdlif {
namespace {

std::string listed(Names names) {
  std::string text;
  for (std::string_view name : names)
    text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

bool holds(Names names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

} // namespace

void refuse(const std::string& where, const Json& value, const std::string& accepted) {
  throw ArtefactError(where + " = " + brief(value.text()) + "; it must be " + accepted + kDamaged);
}

Json member(const Json& object, std::string_view key) {
  return *object.find(key);
}

void check_object(const std::string& where, const Json& value, Names keys, Names optional) {
  if (!value.is(JsonKind::kObject))
    refuse(where, value, "an object");
  size_t required = 0;
  value.members([&](const std::string& key, const Json&) {
    if (holds(keys, key))
      ++required;
    else if (!holds(optional, key))
      throw ArtefactError(
          where + ": unknown key " + brief(key) + "; required keys: [" + listed(keys) + "]" +
          (optional.size() > 0 ? ", optional keys: [" + listed(optional) + "]" : std::string()) + kDamaged);
  });
  if (required < keys.size())
    for (std::string_view key : keys)
      if (!value.find(key))
        throw ArtefactError(where + ": missing key " + std::string(key) + kDamaged);
}

void check_list(const std::string& where, const Json& value) {
  if (!value.is(JsonKind::kList))
    refuse(where, value, "a list");
}

std::string string_of(const std::string& where, const Json& value) {
  if (!value.is(JsonKind::kString))
    refuse(where, value, "a string");
  return value.string();
}

std::string word_of(const std::string& where, const Json& value, Names accepted) {
  std::string word = string_of(where, value);
  if (!holds(accepted, word))
    throw ArtefactError(where + " = " + brief(value.text()) + " is unknown; choose one of " +
                        listed(accepted));
  return word;
}

int64_t integer_of(const std::string& where, const Json& value) {
  const std::optional<int64_t> found = value.integer();
  if (!found || *found < 0)
    refuse(where, value, "an integer of at least 0");
  return *found;
}

int64_t integer_of(const std::string& where, const Json& value, int64_t least, int64_t most) {
  const std::optional<int64_t> found = value.integer();
  if (!found || *found < least || *found > most)
    refuse(where, value, "an integer in " + std::to_string(least) + ".." + std::to_string(most));
  return *found;
}

std::vector<int64_t> integers_of(const std::string& where, const Json& value) {
  check_list(where, value);
  if (value.count() > 4)
    refuse(where, value, "a list of at most 4 entries");
  std::vector<int64_t> found;
  value.entries([&](const Json& entry) { found.push_back(integer_of(where, entry)); });
  return found;
}

double float_of(const std::string& where, const Json& value) {
  const double number = value.is_number() ? value.number() : kLargestFloat * 2;
  if (!(number >= -kLargestFloat && number <= kLargestFloat))
    refuse(where, value, "a finite float32 number");
  return number;
}

std::vector<double> floats_of(const std::string& where, const Json& value) {
  check_list(where, value);
  std::vector<double> found;
  value.entries([&](const Json& entry) { found.push_back(float_of(where, entry)); });
  return found;
}

bool is_shape(const std::vector<int64_t>& shape) {
  int64_t entries = 1;
  for (int64_t size : shape) {
    if (std::max<int64_t>(size, 1) > kMaxElements / entries)
      return false;
    entries *= std::max<int64_t>(size, 1);
  }
  return true;
}

int64_t entries_of(const std::vector<int64_t>& shape) {
  int64_t entries = 1;
  for (int64_t size : shape)
    entries *= size;
  return entries;
}

} // namespace hdlif
