#include "node_reader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace hdlif {
namespace {

const std::map<std::string, Op>& all_ops() {
  static const std::map<std::string, Op> ops = [] {
    std::map<std::string, Op> found;
    for (int32_t number = 0; number < int32_t(Op::kCount); ++number)
      found.emplace(form_of(Op(number)).name, Op(number));
    return found;
  }();
  return ops;
}

} // namespace

NodeReader::NodeReader(const Json& entry, const std::string& where, File& file, const Numbers& values,
                       Graph& graph)
    : op_(string_of(where + ".op", member(entry, "op"))),
      name_(string_of(where + ".name", member(entry, "name"))), attributes_(member(entry, "attributes")),
      values_(values), graph_(graph) {
  if (!attributes_.is(JsonKind::kObject))
    hdlif::refuse(where + ".attributes", attributes_, "an object");
  const Json inputs = member(entry, "inputs");
  check_list(where + ".inputs", inputs);
  inputs.entries([&](const Json& input) { inputs_.push_back(string_of(where + ".inputs", input)); });
  read_references(member(entry, "tensors"), where + ".tensors", file);
}

void NodeReader::read_references(const Json& tensors, const std::string& where, File& file) {
  if (!tensors.is(JsonKind::kObject))
    hdlif::refuse(where, tensors, "an object");
  tensors.members([&](const std::string& role, const Json& reference) {
    const std::string here = where + "." + brief(role);
    check_object(here, reference, {"shape", "tensor"});
    const std::string key = string_of(here + ".tensor", member(reference, "tensor"));
    std::vector<int64_t> shape = integers_of(here + ".shape", member(reference, "shape"));
    if (!is_shape(shape))
      hdlif::refuse(here + ".shape", member(reference, "shape"), "a shape with at most 2^30 entries");
    const auto found = file.tensors.find(key);
    if (found == file.tensors.end() || found->second.is_used)
      throw ArtefactError(here + ".tensor = " + brief(key) +
                          " is missing from the file or belongs to another node" + kDamaged);
    StoredTensor& stored = found->second;
    stored.is_used = true;
    const Encoding* encoding = role == "weight" ? encoding_of(attributes_) : nullptr;
    const int64_t per_byte = encoding != nullptr ? encoding->per_byte : 0;
    const std::vector<int64_t> expected =
        per_byte > 0 ? std::vector<int64_t>{(entries_of(shape) + per_byte - 1) / per_byte} : shape;
    if (stored.is_float != (per_byte == 0) || stored.shape != expected)
      throw ArtefactError(brief(key) + ": the type and shape in the header do not match " + here + kDamaged);
    tensors_.emplace(role, Stored{std::move(shape), stored.bytes});
  });
}

void NodeReader::refuse(const std::string& what) const {
  throw ArtefactError(brief(name_) + ": " + what + kDamaged);
}

int32_t NodeReader::integer(std::string_view key, int32_t least, int32_t most) const {
  return int32_t(integer_of(where(key), attribute(key), least, most));
}

std::array<int32_t, 2> NodeReader::pair(std::string_view key, int32_t least) const {
  const Json value = attribute(key);
  if (!value.is(JsonKind::kList) || value.count() != 2)
    hdlif::refuse(where(key), value, "two integers");
  std::array<int32_t, 2> found{};
  size_t place = 0;
  value.entries([&](const Json& entry) {
    found[place++] = int32_t(integer_of(where(key), entry, least, (1 << 15) - 1));
  });
  return found;
}

std::array<int32_t, 2> NodeReader::pair(std::string_view key, int32_t least,
                                        std::array<int32_t, 2> otherwise) const {
  return has(key) ? pair(key, least) : otherwise;
}

int32_t NodeReader::value(std::string_view key) const {
  const Json name = attribute(key);
  const auto found = name.is(JsonKind::kString) ? values_.find(name.string()) : values_.end();
  if (found == values_.end())
    hdlif::refuse(where(key), name, "the name of a value of the graph");
  return found->second;
}

void NodeReader::check_roles(const std::vector<std::string>& roles) const {
  bool fits = tensors_.size() == roles.size();
  std::string accepted;
  for (const std::string& role : roles) {
    fits = fits && tensors_.count(role) == 1;
    accepted += (accepted.empty() ? "" : ", ") + role;
  }
  if (!fits)
    refuse("tensors of " + op_ + " must be [" + accepted + "]");
}

const Rows& NodeReader::read_rows(const std::string& role) {
  const Stored& stored = tensors_.at(role);
  if (stored.shape.size() != 2)
    refuse(role + " must be [rows, columns]");
  Rows rows;
  rows.steps = int32_t(stored.shape[0]);
  rows.columns = int32_t(stored.shape[1]);
  if (rows.steps != 1 && rows.steps < graph_.time_steps)
    refuse(role + " has " + std::to_string(rows.steps) + " rows; it must have 1 or at least " +
           std::to_string(graph_.time_steps));
  rows.data.resize(stored.bytes.bytes / sizeof(float));
  if (!rows.data.empty())
    std::memcpy(rows.data.data(), stored.bytes.data, stored.bytes.bytes);
  for (float entry : rows.data)
    require(std::isfinite(entry), "a tensor contains a value that is not finite");
  node_.rows.push_back(std::move(rows));
  return node_.rows.back();
}

const Rows& NodeReader::read_rows(const std::string& role, int32_t channels, bool may_be_shared) {
  const std::vector<int64_t>& shape = tensors_.at(role).shape;
  if (shape.size() == 2 && shape[1] != channels && !(may_be_shared && shape[1] == 1))
    refuse(role + " has " + std::to_string(shape[1]) + " columns; the input has " + std::to_string(channels) +
           " channels");
  return read_rows(role);
}

void NodeReader::read_window(const Value& x, Value& y, std::array<int32_t, 2> kernel) {
  const std::array<int32_t, 2> stride = pair("stride", 1), padding = pair("padding", 0, {0, 0}),
                               dilation = pair("dilation", 1, {1, 1});
  Window& w = node_.window;
  w = {kernel[0], kernel[1], stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1]};
  require(w.pad_y < w.reach_y() && w.pad_x < w.reach_x(), "padding must be smaller than the dilated kernel");
  const int64_t spare_y = int64_t(x.height) - w.reach_y() + 2 * w.pad_y,
                spare_x = int64_t(x.width) - w.reach_x() + 2 * w.pad_x;
  require(spare_y >= 0 && spare_x >= 0, "the kernel is larger than the padded map");
  y.height = int32_t(spare_y / w.stride_y + 1);
  y.width = int32_t(spare_x / w.stride_x + 1);
}

void NodeReader::read() {
  const auto op = all_ops().find(op_);
  if (op == all_ops().end()) {
    std::string names;
    for (const auto& [name, each] : all_ops())
      names += (names.empty() ? "" : ", ") + name;
    refuse("op = " + brief(op_) + " is unknown; it must be one of " + names);
  }
  node_.op = op->second;
  const OpForm& form = form_of(node_.op);
  node_.inputs = {-1, -1};
  if (inputs_.size() != size_t(form.inputs))
    refuse(op_ + " has " + std::to_string(inputs_.size()) + " inputs; it takes " +
           std::to_string(form.inputs));
  const auto index = int32_t(graph_.nodes.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const auto found = values_.find(inputs_[i]);
    // value `index` is the last one before this node
    if (found == values_.end() || found->second > index)
      refuse("input " + brief(inputs_[i]) + " is not an earlier value; nodes must be in topological order");
    node_.inputs[i] = found->second;
  }
  check_object(brief(name_) + ": attributes of " + op_, attributes_, form.keys, form.optional_keys);
  if (!form.names_roles)
    check_roles({form.roles.begin(), form.roles.end()});
  const Value x = graph_.values[size_t(node_.inputs[0])];
  Value y = x;
  y.max_code = 0;
  form.read(*this, x, y);
  require(y.pixels() <= kMaxElements / y.channels, "the output has more than 2^30 entries");
  graph_.stateful.insert(graph_.stateful.end(), states_.size(), index);
  if (node_.source >= 0)
    graph_.delays.push_back(index);
  graph_.values.push_back(y);
  graph_.nodes.push_back(std::move(node_));
}

} // namespace hdlif
