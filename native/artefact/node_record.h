// A node of a file, while it becomes a node of the flat form of program.h: what the ops' `lower` reads and
// writes.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../program.h"
#include "fields.h"
#include "file.h"
#include "json.h"

namespace hdlif {

// The words, and the scalars and buffers that they point into; `equations` are the words behind the nodes.
struct FlatProgram {
  std::vector<int32_t> words, equations;
  std::vector<float> scalars;
  std::vector<Buffer> buffers;
};

// A neuron's step as a file has it: operations on registers, and the tensors of its rows.
struct EquationRecord {
  int32_t states = 0;
  std::vector<std::string> rows;                             // the roles of their tensors
  std::vector<std::pair<Instruction, int32_t>> instructions; // with the count of operands that were given
  int32_t spike = 0;
  std::vector<int32_t> after;

  int32_t first() const { return 1 + states + int32_t(rows.size()); }
};

class NodeRecord {
public:
  struct Stored {
    std::vector<int64_t> shape; // once unpacked
    Buffer bytes;
  };

  // `values` has the number of every value of the graph. Reads the references to tensors, and marks those
  // used.
  NodeRecord(const Json& entry, const std::string& where, File& file,
             const std::map<std::string, int32_t>& values, FlatProgram& program);

  const std::string& op() const { return op_; }
  const std::string& name() const { return name_; }
  // Appends the node's words; throws `ArtefactError`.
  void lower();

  // For `lower` of an op. Errors begin with the node's name.

  [[noreturn]] void refuse(const std::string& what) const;
  void require(bool holds, const char* what) const {
    if (!holds)
      refuse(what);
  }

  bool has(std::string_view key) const { return attributes_.find(key).has_value(); }
  Json attribute(std::string_view key) const { return *attributes_.find(key); }
  std::string where(std::string_view key) const { return name_ + ": " + std::string(key); }
  int32_t integer(std::string_view key, int32_t least, int32_t most) const;
  // Two integers below 2^15; `otherwise` where the node leaves them out.
  std::array<int32_t, 2> pair(std::string_view key, int32_t least) const;
  std::array<int32_t, 2> pair(std::string_view key, int32_t least, std::array<int32_t, 2> otherwise) const;

  void check_attributes(Names keys, Names optional = {}) const;
  void check_roles(const std::vector<std::string>& roles) const;
  const std::vector<int64_t>& shape(const std::string& role) const { return tensors_.at(role).shape; }

  void set(Field which, int32_t value) { words_[which] = value; }
  void set(Field first, std::array<int32_t, 2> values) {
    words_[first] = values[0];
    words_[first + 1] = values[1];
  }
  void set_source(const Json& name);
  void set_scalar(float value);
  // Its weight takes so many channels of the input.
  void set_weight(int64_t in_channels);
  void set_equation(const EquationRecord& equation);

  // What `set_weight` was told; -1 of other ops.
  int64_t in_channels() const { return in_channels_; }
  const std::vector<std::string>& states() const { return states_; }
  void set_states(std::vector<std::string> names) { states_ = std::move(names); }

private:
  void read_references(const Json& tensors, const std::string& where, File& file);
  void set_rows(int which, const std::string& role);
  int32_t append_buffer(const std::string& role);
  int32_t append_scalar(float value);

  std::string op_, name_;
  std::vector<std::string> inputs_;
  Json attributes_;
  std::map<std::string, Stored> tensors_;
  const std::map<std::string, int32_t>& values_;
  FlatProgram& program_;
  std::array<int32_t, kNodeWords> words_{};
  int64_t in_channels_ = -1;
  std::vector<std::string> states_;
};

} // namespace hdlif
