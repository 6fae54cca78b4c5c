// Every kernel of every instruction set that this machine has gives the bits of the scalar one, on drawn
// shapes; of layers, the scalar one gives those of plain loops, so that events and laid-out weights are right
// as well.
//
//   kernels_test [INSTRUCTIONS] [CASES]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "placement.h"
#include "plan.h"

using namespace hdlif;

namespace {

std::mt19937 generator(20240607);
std::string case_text;

int32_t draw(int32_t low, int32_t high) {
  return low + int32_t(generator() % uint32_t(high - low + 1));
}
bool coin() {
  return draw(0, 1) == 1;
}
int32_t choose(std::initializer_list<int32_t> from) {
  return from.begin()[draw(0, int32_t(from.size()) - 1)];
}

template <typename T> bool same(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, float>)
    if (std::isnan(a) && std::isnan(b))
      return true;
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

template <typename A, typename B>
void check(const char* kernel, const Kernels& table, const A& a, const B& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i])) {
      std::fprintf(stderr, "%s of %s: entry %zu is %g, not %g (%s)\n", kernel, table.name, i, double(a[i]),
                   double(b[i]), case_text.c_str());
      std::exit(1);
    }
}

// Rounded to quarters half of the time, so that thresholds are met exactly; now and then far out.
float real() {
  const float value = float(draw(-4000, 4000)) / 1000;
  if (draw(0, 60) == 0) {
    const float far[] = {0.0f, -0.0f, 1e30f, -1e30f, 1e-40f, std::numeric_limits<float>::infinity()};
    return far[draw(0, 5)];
  }
  return coin() ? std::floor(value * 4) / 4 : value;
}

std::vector<float> reals(int64_t count, int32_t percent_zero = 0) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values)
    value = draw(1, 100) <= percent_zero ? 0.0f : real();
  return values;
}

// Finite, as the reader of graphs demands it of rows and weights.
std::vector<float> finite(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values)
    value = draw(0, 30) == 0 ? -0.0f : float(draw(-4000, 4000)) / (coin() ? 1000 : 1024);
  return values;
}

// All zero, all saturated, or of some density; with what may be read behind a map.
std::vector<uint8_t> codes(int64_t count, int32_t max_code, bool is_saturated = false) {
  const int32_t percent = is_saturated ? 100 : choose({0, 5, 30, 100}),
                fixed = is_saturated || coin() ? max_code : 0;
  std::vector<uint8_t> values(size_t(count + kReadAhead));
  for (int64_t i = 0; i < count; ++i)
    if (draw(1, 100) <= percent)
      values[size_t(i)] = uint8_t(fixed > 0 ? fixed : draw(1, max_code));
  for (size_t i = size_t(count); i < values.size(); ++i)
    values[i] = uint8_t(draw(0, 255)); // must not matter
  return values;
}

struct DrawnRow {
  std::vector<float> data;
  explicit DrawnRow(int32_t channels) : data(finite(coin() ? 1 : channels)) {}
  operator Row() const { return {data.data(), int32_t(data.size())}; }
};

// Room behind an output, to see that nothing is written there.
constexpr size_t kGuard = 64;
constexpr float kUntouched = -12345.0f;

std::vector<float> room(int64_t count) {
  return std::vector<float>(size_t(count) + kGuard, kUntouched);
}
std::vector<uint8_t> code_room(int64_t count) {
  return std::vector<uint8_t>(size_t(count) + kGuard, 0xa5);
}

ConvShape draw_conv(int32_t max_code, int32_t max_weight, bool is_wide = false, bool is_grouped = false) {
  ConvShape s{};
  s.max_code = max_code;
  s.max_weight = max_weight;
  const bool is_linear = is_wide || draw(0, 4) == 0;
  s.kernel_y = is_linear ? 1 : draw(1, 4);
  s.kernel_x = is_linear ? 1 : draw(1, 4);
  const bool is_dilated = !is_linear && draw(0, 3) == 0;
  const bool goes_back = is_dilated && !is_grouped && coin(); // as taps in time do
  s.dilation_y = is_dilated ? draw(1, 3) : 1;
  s.dilation_x = is_dilated ? draw(1, 4) : 1;
  const int32_t reach_y = (s.kernel_y - 1) * s.dilation_y + 1, reach_x = (s.kernel_x - 1) * s.dilation_x + 1;
  s.in_height = is_linear ? 1 : draw(reach_y, reach_y + 8);
  s.in_width = is_linear ? 1 : draw(reach_x, reach_x + 17);
  s.in_channels = is_wide || (is_linear && coin()) ? choose({600, 1201, 2400})
                                                   : choose({1, 2, 3, 5, 16, 30, 63, 64, 65, 130});
  s.out_channels = choose({1, 3, 7, 8, 15, 16, 17, 31, 33, 48, 65, 112, 129, 300, 530});
  if (is_grouped) {
    s.groups = choose({1, 2, 3, 17, 64, 130});
    s.in_channels = s.groups * choose({1, 1, 2, 5});
    s.out_channels = s.groups * choose({1, 1, 2, 9, 16, 21});
  }
  s.stride_y = is_linear ? 1 : draw(1, 5);
  s.stride_x = is_linear ? 1 : draw(1, 5);
  s.pad_y = draw(0, reach_y - 1);
  s.pad_x = draw(0, reach_x - 1);
  s.out_height = (s.in_height + 2 * s.pad_y - reach_y) / s.stride_y + 1;
  s.out_width = (s.in_width + 2 * s.pad_x - reach_x) / s.stride_x + 1;
  if (goes_back) { // the first tap is where the last one was
    s.pad_x -= reach_x - 1;
    s.dilation_x = -s.dilation_x;
  }
  case_text = "map " + std::to_string(s.in_height) + "x" + std::to_string(s.in_width) + "x" +
              std::to_string(s.in_channels) + ", out " + std::to_string(s.out_channels) + ", kernel " +
              std::to_string(s.kernel_y) + "x" + std::to_string(s.kernel_x) + ", stride " +
              std::to_string(s.stride_y) + "x" + std::to_string(s.stride_x) + ", dilation " +
              std::to_string(s.dilation_y) + "x" + std::to_string(s.dilation_x) + ", groups " +
              std::to_string(s.groups) + ", padding " + std::to_string(s.pad_y) + "x" +
              std::to_string(s.pad_x) + ", codes to " + std::to_string(max_code) + ", weights to " +
              std::to_string(max_weight);
  return s;
}

// One output row by plain loops, in the order that kernels.h states: sums of floats, or exact ones of codes.
template <typename Sum, typename In, typename Weight>
std::vector<float> plain_row(const In* map, const Weight* weights, const ConvShape& s, int32_t oy) {
  std::vector<float> y = room(int64_t(s.out_width) * s.out_channels);
  const int32_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  for (int32_t ox = 0; ox < s.out_width; ++ox)
    for (int32_t co = 0; co < s.out_channels; ++co) {
      Sum total = 0;
      for (int32_t ky = 0; ky < s.kernel_y; ++ky)
        for (int32_t kx = 0; kx < s.kernel_x; ++kx) {
          const int32_t iy = oy * s.stride_y - s.pad_y + ky * s.dilation_y,
                        ix = ox * s.stride_x - s.pad_x + kx * s.dilation_x;
          if (iy < 0 || iy >= s.in_height || ix < 0 || ix >= s.in_width)
            continue;
          for (int32_t ci = 0; ci < in; ++ci) {
            const In x = map[(int64_t(iy) * s.in_width + ix) * s.in_channels + co / out * in + ci];
            // an event-driven sum leaves out zeros, which changes no bit: see kernels.h
            if (x != 0)
              total +=
                  Sum(x) * Sum(weights[((int64_t(ky) * s.kernel_x + kx) * in + ci) * s.out_channels + co]);
          }
        }
      y[size_t(ox) * size_t(s.out_channels) + size_t(co)] = float(total);
    }
  return y;
}

// Weights with room for the lanes of an event.
template <typename Weight>
std::vector<Weight> in_lanes(const std::vector<Weight>& weights, const ConvShape& s) {
  const size_t out = size_t(s.out_channels), lanes = size_t(s.lanes()), rows = weights.size() / out;
  std::vector<Weight> laid(rows * lanes, Weight(0));
  for (size_t row = 0; row < rows; ++row)
    std::copy_n(&weights[row * out], out, &laid[row * lanes]);
  return laid;
}

// The events of the rows under the kernel.
template <typename Event> struct Field {
  std::vector<std::vector<Event>> events;
  std::vector<std::vector<int32_t>> starts;
  std::vector<EventRow<Event>> rows;

  template <typename In, typename Gather>
  Field(const In* map, const ConvShape& s, int32_t oy, int32_t entries, Gather gather) {
    for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
      const int32_t iy = oy * s.stride_y - s.pad_y + ky * s.dilation_y;
      events.emplace_back(size_t(s.in_width) * size_t(entries));
      starts.emplace_back(size_t(s.in_width) + 1);
      rows.emplace_back();
      if (iy < 0 || iy >= s.in_height)
        continue;
      gather(map + int64_t(iy) * s.in_width * s.in_channels, events.back().data(), starts.back().data());
      rows.back() = {events.back().data(), starts.back().data()};
    }
  }
};

// A graph of one layer, so that its weights are laid out as a plan lays them out.
struct OneLayer {
  std::vector<int8_t> low_bit;
  std::vector<float> floats;
  std::vector<Layer> layers;

  OneLayer(const ConvShape& s, const Kernels& table, std::vector<int8_t> low_bit_weights,
           std::vector<float> weights)
      : low_bit(std::move(low_bit_weights)), floats(std::move(weights)) {
    Graph graph{};
    graph.values = {{s.in_channels, s.in_height, s.in_width, true, s.max_code, false},
                    {s.out_channels, s.out_height, s.out_width, true, 0, false}};
    Node node{};
    node.op = Op::kConv2d;
    node.inputs = {0, -1};
    node.window = {s.kernel_y, s.kernel_x, s.stride_y,   s.stride_x,
                   s.pad_y,    s.pad_x,    s.dilation_y, s.dilation_x};
    node.low_bit_weights = low_bit;
    node.float_weights = floats;
    node.max_weight = s.max_weight;
    graph.nodes.push_back(node);
    layers = Plan(std::move(graph), table).layers;
  }
  const Layer& layer() const { return layers[0]; }
};

std::vector<int8_t> low_bit_weights(const ConvShape& s, bool is_saturated = false) {
  const int32_t sign = is_saturated ? choose({-1, 1}) : choose({-1, 0, 0, 0, 1});
  std::vector<int8_t> weights(size_t(s.kernel_y) * size_t(s.kernel_x) * size_t(s.in_channels / s.groups) *
                              size_t(s.out_channels));
  for (int8_t& weight : weights)
    weight = int8_t(sign != 0 ? sign * s.max_weight : draw(-s.max_weight, s.max_weight));
  return weights;
}

// The events of the units that differ from `before`, summed on top of `totals` where there is one.
std::vector<float> sum_units(const Kernels& table, const Layer& layer, const uint8_t* map,
                             const uint8_t* before, int32_t oy, std::vector<int32_t>& totals) {
  const ConvShape& s = layer.shape;
  std::vector<float> y = room(int64_t(s.out_width) * s.out_channels);
  const Field<UnitEvent> units(map, s, oy, layer.form.units,
                               [&](const uint8_t* row, UnitEvent* events, int32_t* starts) {
                                 table.gather_units(row, before == nullptr ? nullptr : before + (row - map),
                                                    s.in_width, s, layer.form, events, starts);
                               });
  table.unit_row(units.rows.data(), layer.index.data(), layer.table.data(), layer.form, before != nullptr,
                 totals.data(), y.data(), s);
  return y;
}

void check_integer_sums(const std::vector<const Kernels*>& tables) {
  // every product the largest, often enough to fill an int8 and an int16 to the brim, and beyond
  const bool is_saturated = draw(0, 5) == 0;
  const ConvShape s = draw_conv((1 << draw(1, 8)) - 1, choose({1, 1, 1, 3, 7, 127}), is_saturated);
  const int64_t count = int64_t(s.in_height) * s.in_width * s.in_channels;
  const std::vector<uint8_t> map = codes(count, s.max_code, is_saturated);
  std::vector<uint8_t> before = codes(count, s.max_code);
  for (size_t i = 0; i < size_t(count); ++i)
    if (coin() && !is_saturated)
      before[i] = map[i];
  int64_t excess = 0;
  for (size_t i = 0; i < size_t(count); ++i)
    excess += int(map[i] != before[i]) - int(map[i] != 0);
  const std::vector<int8_t> weights = low_bit_weights(s, is_saturated);
  const int32_t oy = draw(0, s.out_height - 1);
  const std::vector<float> expected = plain_row<int64_t>(map.data(), weights.data(), s, oy);
  for (const Kernels* table : tables) {
    std::vector<float> y = room(int64_t(s.out_width) * s.out_channels);
    if (table->excess_of_changes(map.data(), before.data(), count) != excess)
      check("excess_of_changes", *table, std::vector<float>{0}, std::vector<float>{1});
    const Field<CodeEvent> field(
        map.data(), s, oy, s.in_channels, [&](const uint8_t* row, CodeEvent* events, int32_t* starts) {
          table->gather_codes(row, s.in_width, s.in_channels, s.lanes(), events, starts);
        });
    table->code_row(field.rows.data(), in_lanes(weights, s).data(), y.data(), s);
    check("code_row", *table, y, expected);
    const OneLayer one(s, *table, weights, {});
    const LookupForm& form = one.layer().form;
    if (table->unit_row == nullptr || form.per_unit == 0)
      continue;
    // all of the row; then the changes from the step before, added to its totals
    std::vector<int32_t> totals(size_t(s.out_width) * size_t(form.lanes));
    for (bool adds : {false, true}) {
      const uint8_t* step_before = adds ? before.data() : nullptr;
      if (adds)
        sum_units(*table, one.layer(), before.data(), nullptr, oy, totals);
      const std::vector<float> y = sum_units(*table, one.layer(), map.data(), step_before, oy, totals);
      check(adds ? "unit_row of changes" : "unit_row", *table, y, expected);
    }
  }
}

// The input rows under the kernel, null where padding.
template <typename In> std::vector<const In*> rows_under(const In* map, const ConvShape& s, int32_t oy) {
  std::vector<const In*> rows;
  for (int32_t ky = 0; ky < s.kernel_y; ++ky) {
    const int32_t iy = oy * s.stride_y - s.pad_y + ky * s.dilation_y;
    rows.push_back(iy < 0 || iy >= s.in_height ? nullptr : map + int64_t(iy) * s.in_width * s.in_channels);
  }
  return rows;
}

void check_grouped_sums(const std::vector<const Kernels*>& tables) {
  const ConvShape s = draw_conv(255, choose({1, 1, 7, 127}), false, true);
  const int64_t count = int64_t(s.in_height) * s.in_width * s.in_channels;
  const std::vector<uint8_t> code_map = codes(count, 255);
  const std::vector<float> map = reals(count, choose({0, 50, 100}));
  const std::vector<int8_t> low_bit = low_bit_weights(s);
  const std::vector<float> weights = finite(int64_t(low_bit.size()));
  const int32_t oy = draw(0, s.out_height - 1);
  const std::vector<const float*> rows = rows_under(map.data(), s, oy);
  const std::vector<const uint8_t*> code_rows = rows_under(code_map.data(), s, oy);
  const int64_t size = int64_t(s.out_width) * s.out_channels;
  for (const Kernels* table : tables) {
    std::vector<float> y = room(size);
    table->grouped_row(rows.data(), weights.data(), y.data(), s);
    check("grouped_row", *table, y, plain_row<float>(map.data(), weights.data(), s, oy));
    y = room(size);
    table->grouped_row_low_bit(rows.data(), low_bit.data(), y.data(), s);
    check("grouped_row_low_bit", *table, y, plain_row<float>(map.data(), low_bit.data(), s, oy));
    y = room(size);
    table->grouped_row_of_codes(code_rows.data(), weights.data(), y.data(), s);
    check("grouped_row_of_codes", *table, y, plain_row<float>(code_map.data(), weights.data(), s, oy));
    y = room(size);
    table->grouped_row_of_codes_low_bit(code_rows.data(), low_bit.data(), y.data(), s);
    check("grouped_row_of_codes_low_bit", *table, y,
          plain_row<int64_t>(code_map.data(), low_bit.data(), s, oy));
  }
}

void check_float_sums(const std::vector<const Kernels*>& tables) {
  const bool is_code = coin();
  const ConvShape s = draw_conv(is_code ? 255 : 0, choose({1, 1, 7, 127}));
  const int64_t count = int64_t(s.in_height) * s.in_width * s.in_channels;
  const std::vector<uint8_t> code_map = codes(count, 255);
  const std::vector<float> map = reals(count, choose({0, 50, 100}));
  const std::vector<int8_t> low_bit = low_bit_weights(s);
  const std::vector<float> weights = finite(int64_t(low_bit.size()));
  const int32_t oy = draw(0, s.out_height - 1);
  const std::vector<float> of_codes = plain_row<float>(code_map.data(), weights.data(), s, oy),
                           of_floats = plain_row<float>(map.data(), weights.data(), s, oy),
                           of_low_bit = plain_row<float>(map.data(), low_bit.data(), s, oy);
  const int64_t size = int64_t(s.out_width) * s.out_channels;
  for (const Kernels* table : tables) {
    std::vector<float> y = room(size);
    const Field<FloatEvent> values(
        map.data(), s, oy, s.in_channels, [&](const float* row, FloatEvent* events, int32_t* starts) {
          table->gather_floats(row, s.in_width, s.in_channels, s.lanes(), events, starts);
        });
    table->float_row(values.rows.data(), in_lanes(weights, s).data(), y.data(), s);
    check("float_row", *table, y, of_floats);
    y = room(size);
    table->float_row_low_bit(values.rows.data(), in_lanes(low_bit, s).data(), y.data(), s);
    check("float_row_low_bit", *table, y, of_low_bit);
    if (is_code) {
      y = room(size);
      const Field<FloatEvent> from(code_map.data(), s, oy, s.in_channels,
                                   [&](const uint8_t* row, FloatEvent* events, int32_t* starts) {
                                     table->gather_code_values(row, s.in_width, s.in_channels, s.lanes(),
                                                               events, starts);
                                   });
      table->float_row(from.rows.data(), in_lanes(weights, s).data(), y.data(), s);
      check("float_row of codes", *table, y, of_codes);
      continue;
    }
    // infinite entries times a weight of zero are NaN here, and left out by nobody
    const std::vector<const float*> rows = rows_under(map.data(), s, oy);
    y = room(size);
    const OneLayer dense(s, *table, {}, weights);
    table->dense_row(rows.data(), dense.layer().floats.data(), y.data(), s);
    check("dense_row", *table, y, of_floats);
    y = room(size);
    const OneLayer dense_low_bit(s, *table, low_bit, {});
    table->dense_row_low_bit(rows.data(), dense_low_bit.layer().low_bit.data(), y.data(), s);
    check("dense_row_low_bit", *table, y, of_low_bit);
  }
}

// Runs `call(table, outputs...)` on fresh copies of the outputs for each table and compares with the first
// table's.
template <typename Call, typename... Outputs>
void compare(const char* kernel, const std::vector<const Kernels*>& tables, Call call,
             const Outputs&... outputs) {
  std::tuple<Outputs...> expected(outputs...);
  std::apply([&](auto&... each) { call(*tables[0], each.data()...); }, expected);
  for (const Kernels* table : tables) {
    std::tuple<Outputs...> seen(outputs...);
    std::apply([&](auto&... each) { call(*table, each.data()...); }, seen);
    std::apply(
        [&](auto&... each) {
          std::apply([&](auto&... first) { (check(kernel, *table, each, first), ...); }, expected);
        },
        seen);
  }
}

// One pass gives the bits of the ops of which it is made, on the first table.
void check_fire(const std::vector<const Kernels*>& tables, const std::vector<float>& x,
                const std::vector<float>& potential, int64_t pixels, int32_t channels, Row inverse_step,
                float offset, float largest) {
  const int64_t count = pixels * channels;
  const bool has_affine = coin(), has_addend = coin(), has_current = coin(), is_parallel = coin();
  const std::vector<float> scale = finite(channels), shift = finite(channels), addend = reals(count);
  const DrawnRow leak(channels), threshold(channels);
  const Kernels& plain = *tables[0];
  std::vector<float> current = x, v = potential, z = room(count), other = room(count);
  if (has_affine) {
    plain.affine(x.data(), z.data(), scale.data(), shift.data(), pixels, channels);
    current = z;
  }
  if (has_addend) {
    plain.add(current.data(), addend.data(), z.data(), count);
    current = z;
  }
  if (is_parallel)
    plain.parallel(current.data(), other.data(), threshold, pixels, channels);
  else
    plain.hd_lif(current.data(), v.data(), other.data(), leak, threshold, pixels, channels);
  std::vector<uint8_t> y = code_room(count);
  plain.quantise(other.data(), y.data(), inverse_step, offset, largest, pixels, channels);
  for (const Kernels* table : tables) {
    std::vector<float> seen_current = room(count), seen_v = potential;
    std::vector<uint8_t> seen = code_room(count);
    Firing firing;
    if (has_affine) {
      firing.scale = scale.data();
      firing.shift = shift.data();
    }
    if (has_addend)
      firing.addend = addend.data();
    if (has_current)
      firing.current = seen_current.data();
    if (!is_parallel) {
      firing.potential = seen_v.data();
      firing.leak = leak;
    }
    firing.threshold = threshold;
    firing.inverse_step = inverse_step;
    firing.offset = offset;
    firing.largest = largest;
    table->fire(x.data(), seen.data(), firing, pixels, channels);
    check("fire", *table, seen, y);
    check("potential of fire", *table, seen_v, v);
    if (has_current)
      for (size_t i = 0; i < seen_current.size(); ++i)
        check("current of fire", *table, std::vector<float>{seen_current[i]},
              std::vector<float>{i < size_t(count) ? current[i] : kUntouched});
  }
}

// Kernels over time give what they give at one step after the other.
void check_over_time(const std::vector<const Kernels*>& tables, const std::vector<float>& x, int64_t steps,
                     int32_t channels, Row inverse_step, float offset, float largest) {
  const int64_t count = steps * channels;
  const std::vector<float> potential = reals(channels), scale = finite(channels), shift = finite(channels);
  const DrawnRow leak(channels), threshold(channels);
  const Reset reset{coin(), -0.25f};
  const bool has_affine = coin();
  const auto firing = [&](float* v) {
    Firing f;
    if (has_affine) {
      f.scale = scale.data();
      f.shift = shift.data();
    }
    f.potential = v;
    f.leak = leak;
    f.threshold = threshold;
    f.inverse_step = inverse_step;
    f.offset = offset;
    f.largest = largest;
    return f;
  };
  const Kernels& plain = *tables[0];
  std::vector<float> y = room(count), v = potential, lif_v = potential, fire_v = potential;
  std::vector<uint8_t> lif_y = code_room(count), fire_y = code_room(count);
  for (int64_t i = 0; i < count; i += channels) {
    plain.hd_lif(&x[size_t(i)], v.data(), &y[size_t(i)], leak, threshold, 1, channels);
    plain.lif(&x[size_t(i)], lif_v.data(), &lif_y[size_t(i)], leak, threshold, reset, 1, channels);
    plain.fire(&x[size_t(i)], &fire_y[size_t(i)], firing(fire_v.data()), 1, channels);
  }
  for (const Kernels* table : tables) {
    std::vector<float> seen = room(count), seen_v = potential;
    table->hd_lif_over_time(x.data(), seen_v.data(), seen.data(), leak, threshold, steps, channels);
    check("hd_lif_over_time", *table, seen, y);
    check("potential of hd_lif_over_time", *table, seen_v, v);
    std::vector<uint8_t> codes = code_room(count);
    seen_v = potential;
    table->lif_over_time(x.data(), seen_v.data(), codes.data(), leak, threshold, reset, steps, channels);
    check("lif_over_time", *table, codes, lif_y);
    check("potential of lif_over_time", *table, seen_v, lif_v);
    codes = code_room(count);
    seen_v = potential;
    table->fire_over_time(x.data(), codes.data(), firing(seen_v.data()), steps, channels);
    check("fire_over_time", *table, codes, fire_y);
    check("potential of fire_over_time", *table, seen_v, fire_v);
  }
}

void check_entries(const std::vector<const Kernels*>& tables) {
  const int32_t channels = choose({1, 2, 3, 7, 8, 16, 17, 33, 64, 100});
  const int64_t pixels = draw(1, 21), count = pixels * channels;
  case_text = std::to_string(pixels) + " pixels of " + std::to_string(channels) + " channels";
  const std::vector<float> x = reals(count, choose({0, 50, 100})), other = reals(count),
                           potential = reals(count), scale = finite(channels), shift = finite(channels),
                           y = room(count);
  const std::vector<uint8_t> y_codes = code_room(count), some_codes = codes(count, 255);
  const DrawnRow a(channels), b(channels);
  compare(
      "affine", tables,
      [&](const Kernels& k, float* to) {
        k.affine(x.data(), to, scale.data(), shift.data(), pixels, channels);
      },
      y);
  compare(
      "hd_lif", tables,
      [&](const Kernels& k, float* to, float* v) { k.hd_lif(x.data(), v, to, a, b, pixels, channels); }, y,
      potential);
  compare(
      "parallel", tables, [&](const Kernels& k, float* to) { k.parallel(x.data(), to, a, pixels, channels); },
      y);
  for (bool hard : {false, true})
    compare(
        "lif", tables,
        [&](const Kernels& k, uint8_t* to, float* v) {
          k.lif(x.data(), v, to, a, b, {hard, -0.25f}, pixels, channels);
        },
        y_codes, potential);
  DrawnRow inverse_step(channels);
  for (float& entry : inverse_step.data)
    entry = std::fabs(entry) + 0.25f;
  const float largest = float((1 << draw(1, 8)) - 1), offset = float(draw(0, 2)) / 2;
  check_fire(tables, x, potential, pixels, channels, inverse_step, offset, largest);
  check_over_time(tables, x, pixels, channels, inverse_step, offset, largest);
  compare(
      "quantise", tables,
      [&](const Kernels& k, uint8_t* to) {
        k.quantise(x.data(), to, inverse_step, offset, largest, pixels, channels);
      },
      y_codes);
  compare("add", tables, [&](const Kernels& k, float* to) { k.add(x.data(), other.data(), to, count); }, y);
  compare("widen", tables, [&](const Kernels& k, float* to) { k.widen(some_codes.data(), to, count); }, y);
  const DrawnRow weight(coin() ? 1 : draw(0, 8) * 2 + 1);
  compare(
      "seca", tables,
      [&](const Kernels& k, float* to, float* scratch) {
        k.seca(x.data(), to, weight, 0.5f, pixels, channels, scratch);
      },
      y, std::vector<float>(size_t(2 * channels)));
}

void check_pools(const std::vector<const Kernels*>& tables) {
  PoolShape s{};
  s.kernel_y = draw(1, 4);
  s.kernel_x = draw(1, 4);
  s.in_height = draw(s.kernel_y, 9);
  s.in_width = draw(s.kernel_x, 9);
  s.channels = choose({1, 2, 3, 7, 16, 17, 33, 64, 100});
  s.stride_y = draw(1, 5);
  s.stride_x = draw(1, 5);
  const auto pool = [&](const char* name, bool pads, auto&& call, const auto& x, const auto& y) {
    s.pad_y = pads ? draw(0, s.kernel_y - 1) : 0;
    s.pad_x = pads ? draw(0, s.kernel_x - 1) : 0;
    s.out_height = (s.in_height + 2 * s.pad_y - s.kernel_y) / s.stride_y + 1;
    s.out_width = (s.in_width + 2 * s.pad_x - s.kernel_x) / s.stride_x + 1;
    case_text = "map " + std::to_string(s.in_height) + "x" + std::to_string(s.in_width) + "x" +
                std::to_string(s.channels);
    const int64_t row = draw(0, 2 * s.out_height - 1);
    compare(name, tables, [&](const Kernels& k, auto* to) { call(k, x.data(), to, row); }, y);
  };
  const int64_t in = 2 * int64_t(s.in_height) * s.in_width * s.channels, out = 20 * int64_t(s.channels);
  const std::vector<float> x = reals(in, choose({0, 100}));
  const std::vector<uint8_t> few = codes(in, 255 / (s.kernel_y * s.kernel_x)), many = codes(in, 255);
  pool(
      "sum_pool", false, [&](auto& k, auto* a, auto* b, int64_t r) { k.sum_pool(a, b, s, r); }, x, room(out));
  pool("max_pool", true, [&](auto& k, auto* a, auto* b, int64_t r) { k.max_pool(a, b, s, r); }, x, room(out));
  pool(
      "sum_pool_codes", false, [&](auto& k, auto* a, auto* b, int64_t r) { k.sum_pool_codes(a, b, s, r); },
      few, code_room(out));
  pool(
      "sum_pool_code_values", false,
      [&](auto& k, auto* a, auto* b, int64_t r) { k.sum_pool_code_values(a, b, s, r); }, many, room(out));
  pool(
      "max_pool_codes", true, [&](auto& k, auto* a, auto* b, int64_t r) { k.max_pool_codes(a, b, s, r); },
      many, code_room(out));
}

} // namespace

int main(int count, char** arguments) {
  std::vector<const Kernels*> tables(8);
  tables.resize(size_t(available_kernels(tables.data(), 8)));
  if (count > 1 && std::string(arguments[1]) != "all") {
    const std::string wanted = arguments[1];
    std::vector<const Kernels*> chosen = {tables[0]};
    for (const Kernels* table : tables)
      if (table->name == wanted && table != tables[0])
        chosen.push_back(table);
    if (chosen.back()->name != wanted) {
      std::fprintf(stderr, "this machine has no %s\n", wanted.c_str());
      return 2;
    }
    tables = chosen;
  }
  const int cases = count > 2 ? std::atoi(arguments[2]) : 1000;
  for (int i = 0; i < cases; ++i) {
    check_integer_sums(tables);
    check_float_sums(tables);
    check_grouped_sums(tables);
    check_entries(tables);
    check_pools(tables);
  }
  for (const Kernels* table : tables)
    std::printf("%s ", table->name);
  std::printf("\n");
}
