// Unpacks weights; docs/contributing/model_format.md describes the bytes.
#include <cmath>
#include <cstring>

#include "node_reader.h"

namespace hdlif {
namespace {

constexpr Encoding kEncodings[] = {{"float32", 0, 0}, {"ternary", 0, 5}, {"binary", 0, 8},
                                   {"int2", 2, 4},    {"int4", 4, 2},    {"int8", 8, 1}};

constexpr int kPower[5] = {1, 3, 9, 27, 81};

} // namespace

const Encoding* encoding_of(const Json& attributes) {
  const std::optional<Json> value = attributes.find("encoding");
  const std::string name = value && value->is(JsonKind::kString) ? value->string() : "";
  for (const Encoding& each : kEncodings)
    if (name == each.name)
      return &each;
  return nullptr;
}

// Return the weights as [ky][kx][ci][co]; at(i) is weight i of the file.
template <typename Weight, typename At> std::vector<Weight> NodeReader::laid_out(At at) const {
  const std::vector<int64_t>& shape = tensors_.at("weight").shape;
  const int64_t out = shape[0], in = shape[1], taps = int64_t(node_.window.kernel_y) * node_.window.kernel_x;
  std::vector<Weight> weights(size_t(out * in * taps));
  for (int64_t co = 0, i = 0; co < out; ++co)
    for (int64_t ci = 0; ci < in; ++ci)
      for (int64_t tap = 0; tap < taps; ++tap, ++i)
        weights[size_t((tap * in + ci) * out + co)] = at(i);
  return weights;
}

void NodeReader::read_weights(const Value& x, Value& y) {
  const Stored& stored = tensors_.at("weight");
  const Encoding* encoding = encoding_of(attributes_);
  if (encoding == nullptr)
    word_of(where("encoding"), attribute("encoding"),
            {"float32", "ternary", "binary", "int2", "int4", "int8"});
  word_of(where("role"), attribute("role"), {"body", "classifier", "stem"});
  const int64_t out = stored.shape[0], in = x.channels / node_.groups;
  if (stored.shape[1] != in)
    refuse("weight has " + std::to_string(stored.shape[1]) + " input channels; the input has " +
           std::to_string(in) + (node_.groups > 1 ? " per group" : ""));
  require(out >= 1, "weight has no output channels");
  // Events store the offset of their weights from those of the row's first entry as a uint32. Look-up kernels
  // pad the output channels to a multiple of 16.
  const int64_t lanes = (out + 15) / 16 * 16, row = int64_t(x.width) * x.channels;
  require(row <= UINT32_MAX / lanes, "an input row has too many products with the output channels");
  node_.max_weight = encoding->bits > 0 ? (1 << (encoding->bits - 1)) - 1 : 1;
  const int64_t taps = int64_t(node_.window.kernel_y) * node_.window.kernel_x;
  // Accumulators are int32: the sum of a full receptive field of the largest code and weight must fit.
  require(in * taps * x.max_code * node_.max_weight <= INT32_MAX, "sums of codes may exceed 2^31 - 1");
  y.channels = int32_t(out);
  if (encoding->per_byte > 0)
    return read_packed(stored.bytes, encoding->bits, encoding->per_byte);
  node_.float_weights = laid_out<float>([&](int64_t i) {
    float weight;
    std::memcpy(&weight, stored.bytes.data + size_t(i) * sizeof(float), sizeof(float));
    require(std::isfinite(weight), "weight contains a value that is not finite");
    return weight;
  });
}

void NodeReader::read_packed(const Buffer& packed, int bits, int per_byte) {
  const bool is_ternary = per_byte == 5;
  for (size_t i = 0; i < packed.bytes && is_ternary; ++i)
    require(packed.data[i] <= 242,
            "weight contains a byte above 242, which does not encode five ternary values");
  if (const int64_t used = entries_of(shape("weight")) % per_byte; used > 0) { // weights in the last byte
    const int last = packed.data[packed.bytes - 1];
    require((is_ternary ? last / kPower[used] : last >> (used * 8 / per_byte)) == 0,
            "the padding of the weight's last byte is not zero");
  }
  if (is_ternary) {
    node_.low_bit_weights =
        laid_out<int8_t>([&](int64_t i) { return int8_t(packed.data[i / 5] / kPower[i % 5] % 3 - 1); });
  } else if (bits == 0) {
    node_.low_bit_weights =
        laid_out<int8_t>([&](int64_t i) { return int8_t((packed.data[i / 8] >> (i % 8) & 1) * 2 - 1); });
  } else {
    const int least = -(1 << (bits - 1));
    node_.low_bit_weights = laid_out<int8_t>([&](int64_t i) {
      const int field = packed.data[i / per_byte] >> (i % per_byte * bits) & ((1 << bits) - 1);
      const int weight = field < -least ? field : field + 2 * least;
      require(weight > least,
              "weight contains the lowest value of its encoding, which has no negative counterpart");
      return int8_t(weight);
    });
  }
}

} // namespace hdlif
