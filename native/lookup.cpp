#include "lookup.h"

namespace hdlif {
namespace {

// Returns the number of channels per unit, or 0 if the layer has no look-up form. A unit has at most 16
// combinations of weights, its products fit in an int8, and offsets into the table fit in 16 bits.
int32_t channels_per_unit(const ConvShape& s) {
  const int64_t symbols = 2 * int64_t(s.max_weight) + 1, differences = 2 * int64_t(s.max_code) + 1;
  const auto holds = [&](int32_t channels, int64_t kinds, int64_t entries) {
    return s.in_channels % channels == 0 && kinds <= kTableEntry && entries * kTableEntry <= UINT16_MAX + 1 &&
           int64_t(channels) * s.max_code * s.max_weight <= INT8_MAX;
  };
  if (holds(2, symbols * symbols, differences * differences))
    return 2;
  return holds(1, symbols, differences) ? 1 : 0;
}

} // namespace

int32_t lookup_lanes(int32_t out_channels) {
  const int32_t lanes = (out_channels + 15) / 16 * 16;
  return lanes % 64 == 48 ? lanes + 16 : lanes;
}

LookupForm lookup_form(const ConvShape& shape) {
  LookupForm form;
  form.per_unit = channels_per_unit(shape);
  if (form.per_unit > 0) {
    form.units = shape.in_channels / form.per_unit;
    form.lanes = lookup_lanes(shape.out_channels);
  }
  return form;
}

int64_t index_bytes(const ConvShape& shape, const LookupForm& form) {
  return int64_t(shape.kernel_y) * shape.kernel_x * form.units * form.lanes;
}

uint8_t index_of_zeros(const ConvShape& shape, const LookupForm& form) {
  return uint8_t(shape.max_weight * (form.per_unit == 2 ? 1 + 2 * shape.max_weight + 1 : 1));
}

// Example: ternary weights (-1, 1) of channels 0 and 1 have index (-1 + 1) + 3 * (1 + 1) = 6. 4-bit codes
// that change from (5, 2) to (5, 0) have entry (0 + 15) + 31 * (-2 + 15) = 418. The table holds at [418][6]
// the product 0 * -1 - 2 * 1 = -2.
LineVector<int8_t> lookup_table(const ConvShape& s, const LookupForm& form) {
  const bool is_pair = form.per_unit == 2;
  const int32_t symbols = 2 * s.max_weight + 1, differences = 2 * s.max_code + 1;
  const int32_t entries = differences * (is_pair ? differences : 1);
  LineVector<int8_t> table(size_t(entries) * kTableEntry, 0);
  for (int32_t entry = 0; entry < entries; ++entry)
    for (int32_t i = 0; i < symbols * (is_pair ? symbols : 1); ++i) {
      int32_t product = (entry % differences - s.max_code) * (i % symbols - s.max_weight);
      if (is_pair)
        product += (entry / differences - s.max_code) * (i / symbols - s.max_weight);
      table[size_t(entry * kTableEntry + i)] = int8_t(product);
    }
  return table;
}

LineVector<uint8_t> lookup_index(const ConvShape& s, const LookupForm& form, const int8_t* weights) {
  const int32_t symbols = 2 * s.max_weight + 1;
  LineVector<uint8_t> index(size_t(index_bytes(s, form)), index_of_zeros(s, form));
  for (int64_t row = 0; row < int64_t(s.kernel_y) * s.kernel_x * form.units; ++row)
    for (int32_t co = 0; co < s.out_channels; ++co) {
      const int8_t* w = &weights[row * form.per_unit * s.out_channels + co];
      int32_t one = w[0] + s.max_weight;
      if (form.per_unit == 2)
        one += symbols * (w[s.out_channels] + s.max_weight);
      index[size_t(row * form.lanes + co)] = uint8_t(one);
    }
  return index;
}

} // namespace hdlif
