// Typed access to the JSON of a file. Functions throw `ArtefactError` with the place in the file.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "json.h"

namespace hdlif {

// A view of words, valid for one call.
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

// Throws "where = value; it must be accepted".
[[noreturn]] void refuse(const std::string& where, const Json& value, const std::string& accepted);

// Return a member of an object whose keys have been checked.
Json member(const Json& object, std::string_view key);

// Checks that an object has all `keys` and no others except those in `optional`.
void check_object(const std::string& where, const Json& value, Names keys, Names optional = {});
void check_list(const std::string& where, const Json& value);

std::string string_of(const std::string& where, const Json& value);
// Return a string that must be one of `accepted`.
std::string word_of(const std::string& where, const Json& value, Names accepted);
// Return an integer in 0..2^63 - 1.
int64_t integer_of(const std::string& where, const Json& value);
// Return an integer in least..most.
int64_t integer_of(const std::string& where, const Json& value, int64_t least, int64_t most);
// Return at most 4 integers of at least 0: a shape, or two offsets.
std::vector<int64_t> integers_of(const std::string& where, const Json& value);
// Return a finite number in the range of float32.
double float_of(const std::string& where, const Json& value);
std::vector<double> floats_of(const std::string& where, const Json& value);

constexpr double kLargestFloat = 3.4028234663852886e38, kLeastNormal = 1.1754943508222875e-38;

// Return whether the number of entries is within the limit. Sizes of 0 count as 1, so no product of the
// others can overflow.
bool is_shape(const std::vector<int64_t>& shape);
int64_t entries_of(const std::vector<int64_t>& shape);

} // namespace hdlif
