// Reads the nodes of a flat program, and checks every field.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "program.h"

namespace hdlif {

class Reader {
public:
  Reader(const float* scalars, size_t scalar_count, const std::vector<Buffer>& buffers,
         const int32_t* equations, int32_t equation_words, Program& program)
      : scalars_(scalars), scalar_count_(scalar_count), buffers_(buffers), equations_(equations),
        equation_words_(equation_words), program_(program) {}

  void read_node(const int32_t* record, int32_t index) {
    record_ = record;
    index_ = index;
    require(is_op(record[kOp]), "op is unknown");
    node_ = Node{};
    node_.op = Op(record[kOp]);
    const OpForm& form = form_of(node_.op);
    for (int i = 0; i < 2; ++i) {
      const int32_t input = record[kInput0 + i];
      // value index_ is the last one that stands before this node
      require(i < form.inputs ? input >= 0 && input <= index : input == -1, "input is no earlier value");
      node_.inputs[i] = input;
    }
    check_unused(form);
    check_scalars(form);
    const Value& x = program_.values[record[kInput0]];
    Value y = x;
    y.max_code = 0;
    form.infer(*this, x, y);
    require(y.size() <= kMaxElements, "output has too many entries");
    if (node_.equation != nullptr)
      program_.stateful.insert(program_.stateful.end(), size_t(node_.equation->states()), index);
    if (form.delays) {
      program_.stateful.push_back(index);
      program_.delays.push_back(index);
    }
    program_.values.push_back(y);
    program_.nodes.push_back(std::move(node_));
  }

  // What an op's `infer` asks for; each throws ProgramError with the node's number.

  Node& node() { return node_; }
  int32_t field(Field which) const { return record_[which]; }
  float scalar(int which) const { return scalars_[record_[kScalar] + which]; }
  const Value& other() const { return program_.values[record_[kInput1]]; } // the type of the second input

  void require(bool holds, const char* message) const {
    if (!holds)
      throw ProgramError("node " + std::to_string(index_) + ": " + message);
  }

  std::shared_ptr<const Equation> read_equation(int32_t channels) {
    int64_t place = record_[kChoice];
    require(place >= 0, "equation begins before the equation words");
    const auto next = [&] {
      require(place < equation_words_, "equation ends behind the equation words");
      return equations_[place++];
    };
    auto equation = std::make_shared<Equation>();
    const int32_t states = next(), rows = next(), instructions = next();
    require(states >= 0 && states <= kMaxStates, "equation has too many states");
    require(rows >= 0 && rows <= kMaxEquationRows, "equation has too many rows");
    require(instructions >= 0 && instructions <= kMaxInstructions, "equation has too many instructions");
    equation->result = next();
    for (int32_t i = 0; i < states; ++i)
      equation->after.push_back(next());
    for (int32_t i = 0; i < rows; ++i) {
      const int32_t index = next(), steps = next(), columns = next();
      require(index >= 0 && size_t(index) < buffers_.size(), "tensor is out of range");
      require(columns == 1 || columns == channels, "columns do not fit the channels");
      node_.rows.push_back(rows_of(buffers_[index], steps, columns));
    }
    equation->rows = rows;
    std::vector<bool> is_code(size_t(equation->first()), false); // 1 or 0, of each register
    for (int32_t i = 0; i < instructions; ++i) {
      Instruction instruction{};
      const int32_t operation = next(), self = equation->first() + i;
      require(operation >= 0 && operation < int32_t(Operation::kCount), "operation is unknown");
      instruction.operation = Operation(operation);
      const int arity = operands_of(instruction.operation);
      for (int k = 0; k < 3; ++k) {
        const int32_t operand = instruction.operands[k] = next();
        if (instruction.operation == Operation::kConstant && k == 0) {
          require(operand >= 0 && size_t(operand) < scalar_count_, "scalars are out of range");
          instruction.value = scalars_[operand];
          require(std::isfinite(instruction.value), "a scalar is not finite");
        } else {
          require(k < arity ? operand >= 0 && operand < self : operand == -1,
                  "operand is no earlier register");
        }
      }
      is_code.push_back(gives_codes(instruction, is_code));
      equation->instructions.push_back(instruction);
    }
    const auto is_register = [&](int32_t r) { return r >= 0 && r < equation->registers(); };
    require(is_register(equation->result) &&
                std::all_of(equation->after.begin(), equation->after.end(), is_register),
            "equation gives a register that it has not");
    equation->gives_codes = is_code[size_t(equation->result)];
    return equation;
  }

  void read_window(const Value& x, Value& y) {
    const int32_t* r = record_;
    for (int i = kKernelY; i <= kPadX; ++i)
      require(r[i] >= (i < kPadY ? 1 : 0) && r[i] < (1 << 15), "kernel, stride or padding is out of range");
    const bool dilates = form_of(node_.op).dilation;
    for (int i = kDilationY; i <= kDilationX; ++i)
      require(!dilates || (r[i] >= 1 && r[i] < (1 << 15)), "dilation is out of range");
    Window& w = node_.window;
    w = {r[kKernelY], r[kKernelX], r[kStrideY], r[kStrideX], r[kPadY], r[kPadX]};
    if (dilates)
      w.dilation_y = r[kDilationY], w.dilation_x = r[kDilationX];
    require(w.pad_y < w.reach_y() && w.pad_x < w.reach_x(), "padding is not below the kernel");
    const int64_t spare_y = int64_t(x.height) - w.reach_y() + 2 * w.pad_y,
                  spare_x = int64_t(x.width) - w.reach_x() + 2 * w.pad_x;
    require(spare_y >= 0 && spare_x >= 0, "kernel does not fit the map");
    y.height = int32_t(spare_y / r[kStrideY] + 1);
    y.width = int32_t(spare_x / r[kStrideX] + 1);
  }

  int32_t columns(int which) const { return record_[kTensors + 3 * which + 2]; }

  void read_rows(int which, int32_t channels, bool may_be_shared) {
    require(columns(which) == channels || (may_be_shared && columns(which) == 1),
            "columns do not fit the channels");
    read_rows(which);
  }

  void read_rows(int which) {
    node_.rows.resize(std::max(node_.rows.size(), size_t(which) + 1));
    node_.rows[size_t(which)] = rows_of(buffer(which), record_[kTensors + 3 * which + 1], columns(which));
  }

  // Reads the weights, stored [co][ci][ky][kx] with ci in the group of co, into [ky][kx][ci][co]; returns the
  // output channels.
  int32_t read_weights(const Value& x) {
    const int32_t out = record_[kOutChannels], in = x.channels / node_.groups;
    const int64_t taps = int64_t(node_.window.kernel_y) * node_.window.kernel_x;
    require(out >= 1, "it has no output channel");
    require(in <= kMaxElements / taps && in * taps <= kMaxElements / out, "weight has too many entries");
    // Events point to their weights with an uint32, counted from the row's first entry; look-up kernels pad
    // the output channels to a multiple of 16.
    const int64_t lanes = (int64_t(out) + 15) / 16 * 16, row = int64_t(x.width) * x.channels;
    require(row <= UINT32_MAX / lanes, "a row has too many products");
    require(record_[kEncoding] >= 0 && record_[kEncoding] < int32_t(Encoding::kCount), "encoding is unknown");
    const Encoding encoding = Encoding(record_[kEncoding]);
    const int bits = encoding == Encoding::kInt2 ? 2 : encoding == Encoding::kInt4 ? 4 : 8;
    const bool is_integer = encoding >= Encoding::kInt2;
    node_.max_weight = is_integer ? (1 << (bits - 1)) - 1 : 1;
    // Accumulators are int32: the sum of a full receptive field of the largest code and weight must fit.
    require(in * taps * x.max_code * node_.max_weight <= INT32_MAX, "sums of codes may pass 2^31");
    const int64_t count = in * taps * out;
    const Buffer& packed = buffer(0);
    if (encoding == Encoding::kFloat32) {
      require(packed.bytes == uint64_t(count) * sizeof(float), "tensor has another size");
      node_.float_weights.resize(count);
      fill(node_.float_weights, out, in, taps, [&](int64_t i) {
        float weight;
        std::memcpy(&weight, packed.data + i * sizeof(float), sizeof(float));
        require(std::isfinite(weight), "weight holds a value that is not finite");
        return weight;
      });
      return out;
    }
    const int per_byte = is_integer ? 8 / bits : encoding == Encoding::kBinary ? 8 : 5;
    require(packed.bytes == uint64_t((count + per_byte - 1) / per_byte), "tensor has another size");
    for (size_t i = 0; i < packed.bytes && encoding == Encoding::kTernary; ++i)
      require(packed.data[i] <= 242, "weight holds a byte above 242, which is no five ternary values");
    static constexpr int kPower[5] = {1, 3, 9, 27, 81};
    if (const int64_t used = count % per_byte; used > 0) { // of the last byte
      const int last = packed.data[packed.bytes - 1];
      require((per_byte == 5 ? last / kPower[used] : last >> (used * 8 / per_byte)) == 0,
              "the fill of the weight's last byte is not zero");
    }
    node_.low_bit_weights.resize(count);
    if (encoding == Encoding::kBinary) {
      fill(node_.low_bit_weights, out, in, taps,
           [&](int64_t i) { return int8_t((packed.data[i / 8] >> (i % 8) & 1) * 2 - 1); });
      return out;
    }
    if (is_integer) {
      const int least = -(1 << (bits - 1));
      fill(node_.low_bit_weights, out, in, taps, [&](int64_t i) {
        const int field = packed.data[i / per_byte] >> (i % per_byte * bits) & ((1 << bits) - 1);
        const int weight = field < -least ? field : field + 2 * least;
        require(weight > least, "weight holds the least value of its bits, which has no negative");
        return int8_t(weight);
      });
      return out;
    }
    fill(node_.low_bit_weights, out, in, taps,
         [&](int64_t i) { return int8_t(packed.data[i / 5] / kPower[i % 5] % 3 - 1); });
    return out;
  }

private:
  void check_unused(const OpForm& form) const {
    const auto zero = [this](bool used, int first, int last) {
      for (int i = first; i <= last; ++i)
        require(used || record_[i] == 0, "a field that the op does not use is set");
    };
    zero(form.out_channels, kOutChannels, kOutChannels);
    zero(form.kernel, kKernelY, kStrideX);
    zero(form.padding, kPadY, kPadX);
    zero(form.dilation, kDilationY, kGroups);
    zero(form.multiplies, kEncoding, kEncoding);
    zero(form.choice, kChoice, kChoice);
    for (int i = 0; i < kMaxTensors; ++i) {
      const int tensor = kTensors + 3 * i;
      zero(i < form.tensors && !form.multiplies, tensor + 1, tensor + 2);
      require(i < form.tensors || record_[tensor] == -1, "it has a tensor that the op does not use");
    }
    require(form.scalars > 0 || record_[kScalar] == -1, "it has a scalar that the op does not use");
    require(form.delays || record_[kSource] == -1, "it has a source that the op does not use");
  }

  void check_scalars(const OpForm& form) const {
    if (form.scalars == 0)
      return;
    const int64_t first = record_[kScalar];
    require(first >= 0 && first + form.scalars <= int64_t(scalar_count_), "scalars are out of range");
    for (int i = 0; i < form.scalars; ++i)
      require(std::isfinite(scalars_[first + i]), "a scalar is not finite");
  }

  static int operands_of(Operation operation) {
    switch (operation) {
    case Operation::kConstant:
      return 0;
    case Operation::kNegative:
    case Operation::kAbsolute:
    case Operation::kFloor:
    case Operation::kStep:
      return 1;
    case Operation::kSelect:
      return 3;
    default:
      return 2;
    }
  }

  static bool gives_codes(const Instruction& instruction, const std::vector<bool>& is_code) {
    const auto of = [&](int i) { return bool(is_code[size_t(instruction.operands[i])]); };
    switch (instruction.operation) {
    case Operation::kGreater:
    case Operation::kGreaterEqual:
    case Operation::kStep:
      return true;
    case Operation::kConstant:
      return instruction.value == 0.0f || instruction.value == 1.0f;
    case Operation::kMultiply:
      return of(0) && of(1);
    case Operation::kSelect:
      return of(1) && of(2);
    default:
      return false;
    }
  }

  const Buffer& buffer(int which) const {
    const int32_t index = record_[kTensors + 3 * which];
    require(index >= 0 && size_t(index) < buffers_.size(), "tensor is out of range");
    return buffers_[index];
  }

  Rows rows_of(const Buffer& bytes, int32_t steps, int32_t columns) const {
    Rows rows;
    rows.steps = steps;
    rows.columns = columns;
    require(rows.steps == 1 || rows.steps >= program_.time_steps, "rows are neither 1 nor one per step");
    const int64_t count = int64_t(rows.steps) * rows.columns;
    require(bytes.bytes == uint64_t(count) * sizeof(float), "tensor has another size");
    rows.data.resize(count);
    std::memcpy(rows.data.data(), bytes.data, bytes.bytes);
    for (float entry : rows.data)
      require(std::isfinite(entry), "tensor holds a value that is not finite");
    return rows;
  }

  template <typename Weight, typename At>
  static void fill(std::vector<Weight>& weights, int64_t out, int64_t in, int64_t taps, At at) {
    for (int64_t co = 0, i = 0; co < out; ++co)
      for (int64_t ci = 0; ci < in; ++ci)
        for (int64_t tap = 0; tap < taps; ++tap, ++i)
          weights[(tap * in + ci) * out + co] = at(i);
  }

  const float* scalars_;
  size_t scalar_count_;
  const std::vector<Buffer>& buffers_;
  const int32_t* equations_;
  int32_t equation_words_;
  Program& program_;
  const int32_t* record_ = nullptr;
  int32_t index_ = 0;
  Node node_;
};

// The largest code of a sum of `terms` codes, or 0 where it leaves the code range.
inline int32_t summed_code(const Value& x, int64_t terms) {
  const int64_t largest = x.max_code * terms;
  return largest <= kMaxCode ? int32_t(largest) : 0;
}

} // namespace hdlif
