// What a file's JSON holds, by type; each names the place in the file and throws `ArtefactError`.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "json.h"

namespace hdlif {

// Words, for the length of a call.
class Names {
public:
  Names() = default;
  Names(std::initializer_list<std::string_view> names) {
    first_ = names.begin();
    count_ = names.size();
  }
  Names(const std::vector<std::string_view>& names) : first_(names.data()), count_(names.size()) {}

  const std::string_view* begin() const { return first_; }
  const std::string_view* end() const { return first_ + count_; }
  size_t size() const { return count_; }

private:
  const std::string_view* first_ = nullptr;
  size_t count_ = 0;
};

// "where = value; it must be accepted"
[[noreturn]] void refuse(const std::string& where, const Json& value, const std::string& accepted);

// The member of an object whose keys were checked.
Json member(const Json& object, std::string_view key);

// Its keys are these and perhaps some of those.
void check_object(const std::string& where, const Json& value, Names keys, Names optional = {});
void check_list(const std::string& where, const Json& value);

std::string string_of(const std::string& where, const Json& value);
// One of these.
std::string word_of(const std::string& where, const Json& value, Names accepted);
// In 0..2^63 - 1.
int64_t integer_of(const std::string& where, const Json& value);
// Between these, both included.
int64_t integer_of(const std::string& where, const Json& value, int64_t least, int64_t most);
// At most 4 of at least 0: a shape, or two offsets.
std::vector<int64_t> integers_of(const std::string& where, const Json& value);
// A finite number that float32 can hold.
double float_of(const std::string& where, const Json& value);
std::vector<double> floats_of(const std::string& where, const Json& value);

constexpr double kLargestFloat = 3.4028234663852886e38, kLeastNormal = 1.1754943508222875e-38;

// Whether the entries are few enough, one for each size of 0 as well: those are multiplied one after the
// other.
bool is_shape(const std::vector<int64_t>& shape);
int64_t entries_of(const std::vector<int64_t>& shape);

} // namespace hdlif
