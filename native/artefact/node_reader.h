// Reads a node of a file into the graph; the argument of the ops' `read`.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../graph.h"
#include "fields.h"
#include "file.h"
#include "json.h"

namespace hdlif {

// The index of each value of a graph by name: 0 is the input, i + 1 the output of node i.
using Numbers = std::map<std::string, int32_t>;

class NodeReader {
public:
  // Reads the references to tensors, and marks these tensors as used.
  NodeReader(const Json& entry, const std::string& where, File& file, const Numbers& values, Graph& graph);

  const std::string& name() const { return name_; }
  const std::vector<std::string>& states() const { return states_; }
  // Appends the node and the type of its output to the graph; throws `ArtefactError`.
  void read();

  // For `read` of an op. The `ArtefactError`s that these functions throw begin with the node's name.

  Node& node() { return node_; }
  // The type of the second input.
  const Value& other() const { return graph_.values[size_t(node_.inputs[1])]; }

  [[noreturn]] void refuse(const std::string& what) const;
  void require(bool holds, const char* what) const {
    if (!holds)
      refuse(what);
  }

  bool has(std::string_view key) const { return attributes_.find(key).has_value(); }
  Json attribute(std::string_view key) const { return *attributes_.find(key); }
  std::string where(std::string_view key) const { return brief(name_) + ": " + std::string(key); }
  int32_t integer(std::string_view key, int32_t least, int32_t most) const;
  // Return two integers below 2^15, or `otherwise` if the node omits them.
  std::array<int32_t, 2> pair(std::string_view key, int32_t least) const;
  std::array<int32_t, 2> pair(std::string_view key, int32_t least, std::array<int32_t, 2> otherwise) const;
  // Return the index of the value that an attribute refers to; its node may come earlier or later.
  int32_t value(std::string_view key) const;

  const std::vector<int64_t>& shape(const std::string& role) const { return tensors_.at(role).shape; }
  void check_roles(const std::vector<std::string>& roles) const;
  void set_states(std::vector<std::string> names) { states_ = std::move(names); }

  // Appends a tensor [rows][columns] to the node's rows. It must have one row, or at least one per time step.
  const Rows& read_rows(const std::string& role);
  // As above, and checks that there is one column per channel, or a single column if `may_be_shared`.
  const Rows& read_rows(const std::string& role, int32_t channels, bool may_be_shared);
  // Reads the window of a kernel, with the stride, padding and dilation of the node. Sets the size of y.
  void read_window(const Value& x, Value& y, std::array<int32_t, 2> kernel);
  // Reads the weights, stored as [co][ci][ky][kx] with ci in the group of co, into [ky][kx][ci][co]. Sets the
  // channels of y.
  void read_weights(const Value& x, Value& y);

private:
  struct Stored {
    std::vector<int64_t> shape; // shape after unpacking
    Buffer bytes;
  };

  void read_references(const Json& tensors, const std::string& where, File& file);
  template <typename Weight, typename At> std::vector<Weight> laid_out(At at) const;
  void read_packed(const Buffer& packed, int bits, int per_byte);

  std::string op_, name_;
  std::vector<std::string> inputs_;
  Json attributes_;
  std::map<std::string, Stored> tensors_;
  const Numbers& values_;
  Graph& graph_;
  Node node_;
  std::vector<std::string> states_;
};

// The encoding of weights in a file.
struct Encoding {
  const char* name;
  int bits;     // bits of an integer weight, else 0
  int per_byte; // weights per byte: 5 for ternary, 0 for float32
};

// Return the encoding that the attribute of a node selects, or null if it is unknown.
const Encoding* encoding_of(const Json& attributes);

// Return the largest code of a sum of `terms` codes, or 0 if it exceeds the code range.
inline int32_t summed_code(const Value& x, int64_t terms) {
  const int64_t largest = x.max_code * terms;
  return largest <= kMaxCode ? int32_t(largest) : 0;
}

} // namespace hdlif
