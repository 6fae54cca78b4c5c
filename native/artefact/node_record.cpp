#include "node_record.h"

#include <algorithm>

namespace hdlif {
namespace {

struct EncodingName {
  const char* name;
  Encoding encoding;
  int64_t per_byte; // 0: not packed
};
constexpr EncodingName kEncodings[] = {{"float32", Encoding::kFloat32, 0}, {"ternary", Encoding::kTernary, 5},
                                       {"binary", Encoding::kBinary, 8},   {"int2", Encoding::kInt2, 4},
                                       {"int4", Encoding::kInt4, 2},       {"int8", Encoding::kInt8, 1}};

// Of an attribute; null where it names none.
const EncodingName* encoding_of(const Json& attributes) {
  const std::optional<Json> value = attributes.find("encoding");
  const std::string name = value && value->is(JsonKind::kString) ? value->string() : "";
  for (const EncodingName& each : kEncodings)
    if (name == each.name)
      return &each;
  return nullptr;
}

const Op* find_op(const std::string& name) {
  static const std::map<std::string, Op> ops = [] {
    std::map<std::string, Op> found;
    for (int32_t number = 0; is_op(number); ++number)
      found.emplace(form_of(Op(number)).name, Op(number));
    return found;
  }();
  const auto found = ops.find(name);
  return found == ops.end() ? nullptr : &found->second;
}

} // namespace

NodeRecord::NodeRecord(const Json& entry, const std::string& where, File& file,
                       const std::map<std::string, int32_t>& values, FlatProgram& program)
    : op_(string_of(where + ".op", member(entry, "op"))),
      name_(string_of(where + ".name", member(entry, "name"))), attributes_(member(entry, "attributes")),
      values_(values), program_(program) {
  if (!attributes_.is(JsonKind::kObject))
    hdlif::refuse(where + ".attributes", attributes_, "an object");
  const Json inputs = member(entry, "inputs");
  check_list(where + ".inputs", inputs);
  inputs.entries([&](const Json& input) { inputs_.push_back(string_of(where + ".inputs", input)); });
  read_references(member(entry, "tensors"), where + ".tensors", file);
}

void NodeRecord::read_references(const Json& tensors, const std::string& where, File& file) {
  if (!tensors.is(JsonKind::kObject))
    hdlif::refuse(where, tensors, "an object");
  tensors.members([&](const std::string& role, const Json& reference) {
    const std::string here = where + "." + brief(role);
    check_object(here, reference, {"shape", "tensor"});
    const std::string key = string_of(here + ".tensor", member(reference, "tensor"));
    std::vector<int64_t> shape = integers_of(here + ".shape", member(reference, "shape"));
    if (!is_shape(shape))
      hdlif::refuse(here + ".shape", member(reference, "shape"), "of at most 2^30 entries");
    const auto found = file.tensors.find(key);
    if (found == file.tensors.end() || found->second.is_used)
      throw ArtefactError(here + ".tensor = " + brief(key) + " is not in the file, or another node's" +
                          kDamaged);
    StoredTensor& stored = found->second;
    stored.is_used = true;
    const EncodingName* encoding = role == "weight" ? encoding_of(attributes_) : nullptr;
    const int64_t per_byte = encoding != nullptr ? encoding->per_byte : 0;
    const std::vector<int64_t> expected =
        per_byte > 0 ? std::vector<int64_t>{(entries_of(shape) + per_byte - 1) / per_byte} : shape;
    if (stored.is_float != (per_byte == 0) || stored.shape != expected)
      throw ArtefactError(brief(key) + ": its type and shape in the header are not those that " + here +
                          " says" + kDamaged);
    tensors_.emplace(role, Stored{std::move(shape), stored.bytes});
  });
}

void NodeRecord::refuse(const std::string& what) const {
  throw ArtefactError(brief(name_) + ": " + what + kDamaged);
}

int32_t NodeRecord::integer(std::string_view key, int32_t least, int32_t most) const {
  return int32_t(integer_of(where(key), attribute(key), least, most));
}

std::array<int32_t, 2> NodeRecord::pair(std::string_view key, int32_t least) const {
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

std::array<int32_t, 2> NodeRecord::pair(std::string_view key, int32_t least,
                                        std::array<int32_t, 2> otherwise) const {
  return has(key) ? pair(key, least) : otherwise;
}

void NodeRecord::check_roles(const std::vector<std::string>& roles) const {
  bool fits = tensors_.size() == roles.size();
  std::string accepted;
  for (const std::string& role : roles) {
    fits = fits && tensors_.count(role) == 1;
    accepted += (accepted.empty() ? "" : ", ") + role;
  }
  if (!fits)
    refuse("tensors of " + op_ + " must be [" + accepted + "]");
}

void NodeRecord::check_attributes(Names keys, Names optional) const {
  check_object(brief(name_) + ": attributes of " + op_, attributes_, keys, optional);
}

int32_t NodeRecord::append_buffer(const std::string& role) {
  program_.buffers.push_back(tensors_.at(role).bytes);
  return int32_t(program_.buffers.size()) - 1;
}

int32_t NodeRecord::append_scalar(float value) {
  program_.scalars.push_back(value);
  return int32_t(program_.scalars.size()) - 1;
}

void NodeRecord::set_scalar(float value) {
  words_[kScalar] = append_scalar(value);
}

void NodeRecord::set_source(const Json& name) {
  const auto found = name.is(JsonKind::kString) ? values_.find(name.string()) : values_.end();
  if (found == values_.end())
    hdlif::refuse(where("source"), name, "the name of a value of the graph");
  words_[kSource] = found->second;
}

void NodeRecord::set_weight(int64_t in_channels) {
  in_channels_ = in_channels;
  const EncodingName* encoding = encoding_of(attributes_);
  if (encoding == nullptr)
    word_of(where("encoding"), attribute("encoding"),
            {"float32", "ternary", "binary", "int2", "int4", "int8"});
  word_of(where("role"), attribute("role"), {"body", "classifier", "stem"});
  words_[kEncoding] = int32_t(encoding->encoding);
  words_[kTensors] = append_buffer("weight");
}

void NodeRecord::set_rows(int which, const std::string& role) {
  const std::vector<int64_t>& rows = shape(role);
  if (rows.size() != 2)
    refuse(role + " must be [rows, columns]");
  const int place = kTensors + 3 * which;
  words_[size_t(place)] = append_buffer(role);
  words_[size_t(place) + 1] = int32_t(rows[0]);
  words_[size_t(place) + 2] = int32_t(rows[1]);
}

void NodeRecord::set_equation(const EquationRecord& equation) {
  check_roles(equation.rows);
  std::vector<int32_t>& words = program_.equations;
  words_[kChoice] = int32_t(words.size());
  words.insert(words.end(), {equation.states, int32_t(equation.rows.size()),
                             int32_t(equation.instructions.size()), equation.spike});
  words.insert(words.end(), equation.after.begin(), equation.after.end());
  for (const std::string& role : equation.rows) {
    const std::vector<int64_t>& rows = shape(role);
    if (rows.size() != 2)
      refuse(role + " must be [rows, columns]");
    words.insert(words.end(), {append_buffer(role), int32_t(rows[0]), int32_t(rows[1])});
  }
  for (const auto& [instruction, operands] : equation.instructions) {
    words.push_back(int32_t(instruction.operation));
    if (instruction.operation == Operation::kConstant) {
      words.insert(words.end(), {append_scalar(instruction.value), -1, -1});
      continue;
    }
    for (int i = 0; i < 3; ++i)
      words.push_back(i < operands ? instruction.operands[i] : -1);
  }
}

void NodeRecord::lower() {
  words_[kInput1] = words_[kSource] = words_[kScalar] = -1;
  for (int i = 0; i < kMaxTensors; ++i)
    words_[size_t(kTensors + 3 * i)] = -1;
  const Op* op = find_op(op_);
  if (op == nullptr)
    refuse("op = " + brief(op_) + " is unknown");
  const OpForm& form = form_of(*op);
  words_[kOp] = int32_t(*op);
  if (inputs_.size() != size_t(form.inputs))
    refuse(op_ + " has " + std::to_string(inputs_.size()) + " inputs; it takes " +
           std::to_string(form.inputs));
  for (int i = 0; i < form.inputs; ++i) {
    const auto found = values_.find(inputs_[size_t(i)]);
    if (found == values_.end() || found->second >= values_.at(name_))
      refuse("input " + brief(inputs_[size_t(i)]) +
             " is not an earlier value; nodes stand in topological order");
    words_[size_t(kInput0 + i)] = found->second;
  }
  check_attributes(form.keys, form.optional_keys);
  if (!form.names_roles)
    check_roles({form.roles.begin(), form.roles.end()});
  for (size_t i = 0; i < form.roles.size() && !form.multiplies; ++i)
    set_rows(int(i), std::string(form.roles[i]));
  if (form.lower != nullptr)
    form.lower(*this);
  program_.words.insert(program_.words.end(), words_.begin(), words_.end());
}

} // namespace hdlif
