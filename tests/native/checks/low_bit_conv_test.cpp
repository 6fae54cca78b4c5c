// Convolutions of codes, drawn at random: sums are those of plain loops, gradients theirs but for rounding,
// every instruction set gives the bits of the scalar one, any number of threads those of one, and nothing
// beyond what is given is read or written (for the sanitizers).
//
//   low_bit_conv_test [INSTRUCTIONS] [CASES]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "drawn_shape.h"
#include "training/batch_norm.h"
#include "training/low_bit_conv.h"
#include "training/low_bit_weights.h"
#include "training/spike_codes.h"

using namespace hdlif;

namespace {

std::mt19937 generator(20261128);
constexpr int64_t kReadAhead = 64; // that may be read behind codes

int32_t draw(int32_t low, int32_t high) {
  return low + int32_t(generator() % uint32_t(high - low + 1));
}

struct Case {
  ConvShape shape;
  int64_t images, group;
  float step, most_events;
  std::vector<uint8_t> codes, live;
  std::vector<float> weights, dy;

  int64_t inputs() const { return images * shape.in_height * shape.in_width * shape.in_channels; }
  int64_t outputs() const { return images * shape.out_height * shape.out_width * shape.out_channels; }
  int64_t taps() const { return int64_t(shape.kernel_y) * shape.kernel_x; }
  float weight(int64_t co, int64_t ci, int64_t tap) const {
    return weights[size_t((co * shape.in_channels + ci) * taps() + tap)];
  }
};

Case drawn() {
  Case c;
  ConvShape& s = c.shape;
  s = drawn_shape(draw);
  s.in_channels = draw(1, 40);
  s.out_channels = draw(1, 70);
  const int32_t codes[] = {1, 3, 15, 63, 255};
  s.max_code = codes[draw(0, 4)];
  s.max_weight = 1;
  c.images = draw(1, 5);
  c.group = draw(1, 2);
  c.step = 0.25f;
  const float shares[] = {-1, 0, 0.25f, 1}; // whatever is skipped
  c.most_events = shares[draw(0, 3)];
  for (int64_t i = 0; i < c.inputs(); ++i) {
    c.codes.push_back(uint8_t(draw(0, 3) == 0 ? draw(1, s.max_code) : 0));
    c.live.push_back(uint8_t(c.codes.back() != 0 || draw(0, 7) == 0));
  }
  for (auto* map : {&c.codes, &c.live})
    map->insert(map->end(), kReadAhead, 0);
  const bool is_uniform = draw(0, 1) == 0;
  for (int32_t co = 0; co < s.out_channels; ++co) {
    const float scale = is_uniform ? 0.5f : float(draw(1, 8)) / 8;
    for (int64_t i = 0; i < s.in_channels * c.taps(); ++i)
      c.weights.push_back(float(draw(-1, 1)) * scale);
  }
  for (int64_t i = 0; i < c.outputs(); ++i)
    c.dy.push_back(float(draw(-64, 64)) / 16);
  return c;
}

struct Results {
  std::vector<float> y, sums, dw, dx;
  std::vector<double> totals, squares;
};

Results run(const Case& c, const Kernels& kernels, int threads) {
  Results found;
  std::vector<float> scale(size_t(c.shape.out_channels)), scaled;
  const LowBitConv conv(c.shape, c.weights.data(), scale.data(), kernels, threads, c.most_events);
  for (float one : scale)
    scaled.push_back(one * c.step);
  found.y.assign(size_t(c.outputs()), NAN);
  found.dw.assign(c.weights.size(), NAN);
  found.dx.assign(size_t(c.inputs()), NAN);
  found.sums = found.y;
  conv.forward(c.codes.data(), c.images, scaled.data(), found.y.data(), nullptr, threads);
  const int64_t groups = (c.images + c.group - 1) / c.group;
  for (auto* moments : {&found.totals, &found.squares})
    moments->assign(size_t(groups * c.shape.out_channels), NAN);
  const LowBitConv::ToMoments moments{c.group, found.totals.data(), found.squares.data()};
  conv.forward(c.codes.data(), c.images, nullptr, found.sums.data(), &moments, threads);
  const LowBitConv::ToWeights to_weights{c.codes.data(), c.step, found.dw.data()};
  const LowBitConv::ToInput to_input{c.live.data(), scale.data(), found.dx.data()};
  conv.backward(c.dy.data(), c.images, &to_weights, &to_input, threads);
  return found;
}

// By plain loops, in float64.
void expect(const Case& c, std::vector<double>& y, std::vector<double>& dw, std::vector<double>& dx) {
  const ConvShape& s = c.shape;
  y.assign(size_t(c.outputs()), 0);
  dw.assign(c.weights.size(), 0);
  dx.assign(size_t(c.inputs()), 0);
  for (int64_t image = 0; image < c.images; ++image)
    for (int32_t oy = 0; oy < s.out_height; ++oy)
      for (int32_t ox = 0; ox < s.out_width; ++ox)
        for (int32_t tap = 0; tap < c.taps(); ++tap) {
          const int32_t iy = oy * s.stride_y - s.pad_y + tap / s.kernel_x;
          const int32_t ix = ox * s.stride_x - s.pad_x + tap % s.kernel_x;
          if (iy < 0 || iy >= s.in_height || ix < 0 || ix >= s.in_width)
            continue;
          for (int32_t ci = 0; ci < s.in_channels; ++ci)
            for (int32_t co = 0; co < s.out_channels; ++co) {
              const int64_t to = ((image * s.out_height + oy) * s.out_width + ox) * s.out_channels + co;
              const int64_t from = ((image * s.in_height + iy) * s.in_width + ix) * s.in_channels + ci;
              const double weight = c.weight(co, ci, tap), x = double(c.codes[size_t(from)]) * c.step;
              y[size_t(to)] += weight * x;
              dw[size_t((co * s.in_channels + ci) * c.taps() + tap)] += x * c.dy[size_t(to)];
              dx[size_t(from)] += c.live[size_t(from)] != 0 ? weight * c.dy[size_t(to)] : 0;
            }
        }
}

bool is_near(const char* what, const std::vector<float>& found, const std::vector<double>& right) {
  double largest = 1e-30, off = 0;
  for (double one : right)
    largest = std::max(largest, std::abs(one));
  for (size_t i = 0; i < right.size(); ++i)
    if (!(std::abs(found[i] - right[i]) <= off)) // no number is near to nothing
      off = std::isnan(found[i]) ? INFINITY : std::abs(found[i] - right[i]);
  if (off <= 1e-5 * largest)
    return true;
  std::printf("%s is off by %g of %g\n", what, off, largest);
  return false;
}

template <typename Real>
bool are_same(const char* what, const std::vector<Real>& a, const std::vector<Real>& b) {
  if (a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Real)) == 0)
    return true;
  std::printf("%s has other bits\n", what);
  return false;
}

bool are_same(const Results& a, const Results& b) {
  return are_same("y", a.y, b.y) && are_same("sums", a.sums, b.sums) &&
         are_same("totals", a.totals, b.totals) && are_same("squares", a.squares, b.squares) &&
         are_same("dw", a.dw, b.dw) && are_same("dx", a.dx, b.dx);
}

// The moments are those of the sums, which are integers; and so are they by the kernel that takes any maps.
bool are_moments(const Case& c, const Results& found, const Kernels& kernels) {
  const int32_t channels = c.shape.out_channels;
  const int64_t pixels = int64_t(c.shape.out_height) * c.shape.out_width;
  std::vector<double> totals(found.totals.size(), 0), squares(totals);
  for (int64_t i = 0; i < c.outputs(); ++i) {
    const size_t at = size_t(i / channels / pixels / c.group * channels + i % channels);
    totals[at] += found.sums[size_t(i)];
    squares[at] += double(found.sums[size_t(i)]) * found.sums[size_t(i)];
  }
  std::vector<double> of_maps(totals.size(), NAN), of_squares(of_maps), of_planes(of_maps), of_their(of_maps);
  batch_moments(found.sums.data(), {c.images, c.group, pixels, channels, true}, of_maps.data(),
                of_squares.data(), kernels, 2);
  std::vector<float> planes(found.sums.size());
  for (int64_t i = 0; i < c.outputs(); ++i)
    planes[size_t((i / channels / pixels * channels + i % channels) * pixels + i / channels % pixels)] =
        found.sums[size_t(i)];
  batch_moments(planes.data(), {c.images, c.group, pixels, channels, false}, of_planes.data(),
                of_their.data(), kernels, 3);
  return are_same("totals", found.totals, totals) && are_same("squares", found.squares, squares) &&
         are_same("totals of maps", of_maps, totals) && are_same("squares of maps", of_squares, squares) &&
         are_same("totals of planes", of_planes, totals) && are_same("squares of planes", of_their, squares);
}

bool quantises(int threads) {
  const int64_t count = draw(1, 100000);
  std::vector<float> surplus, spikes(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    surplus.push_back(std::max(0, draw(-64, 64)) / 8.0f);
  std::vector<uint8_t> codes(static_cast<size_t>(count)), live(static_cast<size_t>(count));
  const SpikeCodes to{4, 0.5f, 15, 0.25f, codes.data(), spikes.data(), live.data()};
  if (!quantise_surpluses(surplus.data(), count, to, threads))
    return false;
  int64_t events = 0;
  for (uint8_t code : codes)
    events += code != 0;
  if (count_events(codes.data(), count, threads) != events)
    return false;
  for (int64_t i = 0; i < count; ++i) {
    const float x = surplus[size_t(i)], code = std::min(std::floor(x * 4 + 0.5f), 15.0f);
    if (codes[size_t(i)] != code || spikes[size_t(i)] != code * 0.25f || live[size_t(i)] != (x > 0))
      return false;
  }
  for (float unsound : {-0.5f, NAN}) {
    surplus[size_t(draw(0, int32_t(count) - 1))] = unsound;
    if (quantise_surpluses(surplus.data(), count, to, threads))
      return false;
  }
  return true;
}

// Sums over windows, of maps with more or less than whole ones.
bool pools(int threads) {
  const CodeMaps maps{draw(1, 3), draw(2, 9), draw(2, 9), draw(1, 70)};
  const int64_t wy = draw(1, 2), wx = draw(1, 3) < maps.width ? draw(1, 2) : 1;
  const int64_t height = maps.height / wy, width = maps.width / wx;
  std::vector<uint8_t> codes;
  for (int64_t i = 0; i < maps.images * maps.height * maps.width * maps.channels; ++i)
    codes.push_back(uint8_t(draw(0, 63)));
  std::vector<uint8_t> found(size_t(maps.images * height * width * maps.channels), 255);
  pool_codes(codes.data(), maps, wy, wx, found.data(), threads);
  for (size_t i = 0; i < found.size(); ++i) {
    const int64_t c = int64_t(i) % maps.channels, pixel = int64_t(i) / maps.channels;
    const int64_t image = pixel / (height * width), y = pixel / width % height, x = pixel % width;
    int sum = 0;
    for (int64_t dy = 0; dy < wy; ++dy)
      for (int64_t dx = 0; dx < wx; ++dx)
        sum += codes[size_t(((image * maps.height + y * wy + dy) * maps.width + x * wx + dx) * maps.channels +
                            c)];
    if (found[i] != sum)
      return false;
  }
  return true;
}

// The rows that normalise values with these sums, and their gradient, are those of plain formulas.
bool normalises() {
  const int64_t groups = draw(1, 3), channels = draw(1, 40), count = draw(2, 50);
  std::vector<double> totals, squares;
  std::vector<float> weight, bias, unit, mean(static_cast<size_t>(channels), 0.5f),
      var(static_cast<size_t>(channels), 2.0f);
  for (int64_t i = 0; i < groups * channels; ++i) {
    totals.push_back(draw(-50, 50));
    squares.push_back(totals.back() * totals.back() / double(count) + draw(1, 90));
  }
  for (int64_t c = 0; c < channels; ++c) {
    weight.push_back(float(draw(1, 8)) / 4);
    bias.push_back(float(draw(-8, 8)) / 4);
    unit.push_back(float(draw(0, 4)) / 8); // one of 0 among them
  }
  const std::vector<int64_t> rows(static_cast<size_t>(groups), 0);
  const std::vector<double> momenta(static_cast<size_t>(groups), 0.25);
  std::vector<double> right_mean(mean.begin(), mean.end()), right_var(var.begin(), var.end());
  const BatchNorm norm{weight.data(), bias.data(), 1e-5,          mean.data(),
                       var.data(),    rows.data(), momenta.data()};
  const Moments moments{totals.data(), squares.data(), count, unit.data()};
  std::vector<float> found(size_t(4 * groups * channels));
  const NormRows to{&found[0], &found[size_t(groups * channels)], &found[size_t(2 * groups * channels)],
                    &found[size_t(3 * groups * channels)]};
  batch_norm_rows(norm, moments, false, groups, channels, to);
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-5 * (1 + std::abs(b)); };
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t c = 0; c < channels; ++c) {
      const size_t at = size_t(g * channels + c), of = size_t(c);
      const double u = unit[of], m = u * totals[at] / double(count),
                   distances = u * u * (squares[at] - totals[at] * totals[at] / double(count));
      right_mean[of] = 0.75 * right_mean[of] + 0.25 * m;
      right_var[of] = 0.75 * right_var[of] + 0.25 * distances / double(count - 1);
      const double slope = 1 / std::sqrt(distances / double(count) + 1e-5);
      const double x = 3, y = weight[of] * (u * x - m) * slope + bias[of];
      if (!near(to.scale[at] * (x - to.mean[at]) + to.shift[at], y) || !near(to.slope[at], slope))
        return false;
    }
  for (size_t c = 0; c < mean.size(); ++c)
    if (!near(mean[c], right_mean[c]) || !near(var[c], right_var[c]))
      return false;
  // Of weight, bias, and what a difference in x at distance d of the mean makes through mean and variance.
  std::vector<float> of_scale, of_shift, sums(size_t(2 * channels)), of_x(size_t(2 * groups * channels));
  for (int64_t i = 0; i < groups * channels; ++i) {
    of_scale.push_back(float(draw(-8, 8)) / 4);
    of_shift.push_back(float(draw(-8, 8)) / 4);
  }
  batch_norm_gradients(to, count, groups, channels,
                       {of_scale.data(), of_shift.data(), sums.data(), &sums[size_t(channels)], of_x.data(),
                        &of_x[size_t(groups * channels)]});
  for (int64_t c = 0; c < channels; ++c) {
    double of_weight = 0, of_bias = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const size_t at = size_t(g * channels + c);
      of_weight += double(of_scale[at]) * to.slope[at];
      of_bias += of_shift[at];
      const double d = 3, x = to.mean[at] + d, s = to.slope[at];
      const double right = -double(to.scale[at]) * (of_shift[at] + d * s * s * of_scale[at]) / double(count);
      if (!near(of_x[at] + of_x[size_t(groups * channels) + at] * x, right))
        return false;
    }
    if (!near(sums[size_t(c)], of_weight) || !near(sums[size_t(channels + c)], of_bias))
      return false;
  }
  return true;
}

// Rows applied to maps of both layouts, and their gradients: every instruction set gives the scalar one's
// bits, and those are near plain formulas.
bool applies_rows(const Kernels* const* tables, int count) {
  // Now and then so many that there is work for several threads.
  const int64_t groups = draw(1, 3), group = 2, pixels = draw(0, 9) ? draw(1, 70) : draw(2000, 9000);
  const int64_t images = groups * group;
  const auto channels = int32_t(draw(1, 40));
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-4 * (1 + std::abs(b)); };
  const auto drawn = [](int64_t size) {
    std::vector<float> values;
    for (int64_t i = 0; i < size; ++i)
      values.push_back(float(draw(-1000, 1000)) / 300);
    return values;
  };
  const int64_t size = images * pixels * channels, of_rows = groups * channels;
  const int64_t plus_images = draw(0, 1) ? images : group;
  std::vector<float> mean = drawn(of_rows), scale = drawn(of_rows), shift = drawn(of_rows);
  const std::vector<float> x = drawn(size), gradient = drawn(size),
                           plus = drawn(plus_images * pixels * channels);
  for (bool is_last : {true, false}) {
    const NormedMaps maps{images, group, pixels, channels, is_last};
    const NormRows rows{mean.data(), scale.data(), shift.data(), nullptr};
    std::vector<std::vector<float>> right;
    for (int k = 0; k < count; ++k) {
      const Kernels& kernels = *tables[k];
      std::vector<float> y(x), with_plus(x.size(), NAN), back(x.size(), NAN), added(gradient);
      std::vector<float> of_scale(mean.size(), NAN), of_shift(mean.size(), NAN);
      normalise(y.data(), rows, nullptr, 1, maps, y.data(), kernels, 1 + k);
      normalise(x.data(), rows, plus.data(), plus_images, maps, with_plus.data(), kernels, 1 + k);
      sum_row_gradients(gradient.data(), x.data(), mean.data(), maps, of_scale.data(), of_shift.data(),
                        kernels, 1 + k);
      maps_gradient(gradient.data(), x.data(), scale.data(), shift.data(), mean.data(), maps, back.data(),
                    kernels, 1 + k);
      maps_gradient(added.data(), x.data(), nullptr, shift.data(), scale.data(), maps, added.data(), kernels,
                    1 + k);
      const std::vector<std::vector<float>> found{y, with_plus, of_scale, of_shift, back, added};
      if (k == 0)
        right = found;
      else if (found != right)
        return false;
    }
    std::vector<double> of_scale(mean.size(), 0), of_shift(mean.size(), 0);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t image = i / (pixels * channels), c = is_last ? i % channels : i / pixels % channels;
      const size_t row = size_t(image / group * channels + c), at = size_t(i);
      const double y = double(scale[row]) * (double(x[at]) - mean[row]) + shift[row];
      const float more = plus[size_t(image % plus_images * pixels * channels + i % (pixels * channels))];
      of_scale[row] += double(gradient[at]) * (double(x[at]) - mean[row]);
      of_shift[row] += gradient[at];
      if (!near(right[0][at], y) || !near(right[1][at], y + more) ||
          !near(right[4][at], double(scale[row]) * gradient[at] + shift[row] + double(mean[row]) * x[at]) ||
          !near(right[5][at], gradient[at] + shift[row] + double(scale[row]) * x[at]))
        return false;
    }
    for (size_t row = 0; row < mean.size(); ++row)
      if (!near(right[2][row], of_scale[row]) || !near(right[3][row], of_shift[row]))
        return false;
  }
  return true;
}

// Weights of 1.5 bits: every instruction set gives the scalar one's.
bool ternarizes(const Kernels* const* tables, int count) {
  std::vector<float> weights;
  for (int32_t i = draw(1, 40000); i > 0; --i)
    weights.push_back(float(draw(-100, 100)) / 64);
  for (bool are_small : {false, true}) {
    bool are_inside = true;
    for (float& weight : weights) {
      weight = are_small ? weight / 2 : weight;
      are_inside &= std::abs(weight) < 1;
    }
    for (int k = 0; k < count; ++k) {
      std::vector<float> found(weights.size());
      if (ternarize(weights.data(), int64_t(weights.size()), found.data(), *tables[k], 1 + k) != are_inside)
        return false;
    }
  }
  std::vector<float> right(weights.size());
  ternarize(weights.data(), int64_t(weights.size()), right.data(), *tables[0], 1);
  for (int k = 0; k < count; ++k) {
    std::vector<float> found(weights.size(), NAN);
    ternarize(weights.data(), int64_t(weights.size()), found.data(), *tables[k], 1 + k);
    if (!are_same("ternary weights", found, right))
      return false;
  }
  return true;
}

} // namespace

int main(int argc, char** argv) {
  const Kernels* tables[8];
  const int count = available_kernels(tables, 8);
  const int cases = argc > 2 ? std::atoi(argv[2]) : 200;
  for (int i = 0; i < cases; ++i) {
    const Case one = drawn();
    const Results scalar = run(one, *tables[0], 1);
    std::vector<double> y, dw, dx;
    expect(one, y, dw, dx);
    if (!is_near("y", scalar.y, y) || !is_near("dw", scalar.dw, dw) || !is_near("dx", scalar.dx, dx))
      return std::printf("case %d is not what plain loops give\n", i), 1;
    for (int k = 0; k < count; ++k) {
      if (!are_moments(one, scalar, *tables[k]))
        return std::printf("case %d: moments, %s\n", i, tables[k]->name), 1;
      if (argc > 1 && std::string(argv[1]) != "all" && std::string(argv[1]) != tables[k]->name)
        continue;
      for (int threads : {1, 3})
        if (!are_same(run(one, *tables[k], threads), scalar))
          return std::printf("case %d, %s, %d threads\n", i, tables[k]->name, threads), 1;
      Kernels without_vnni = *tables[k]; // as on a machine that has not all that this one has
      without_vnni.dense_codes_vnni = nullptr;
      if (!are_same(run(one, without_vnni, 1), scalar))
        return std::printf("case %d, %s without its last instructions\n", i, tables[k]->name), 1;
    }
    if (!quantises(1 + i % 3))
      return std::printf("case %d: codes of surpluses\n", i), 1;
    if (!pools(1 + i % 3))
      return std::printf("case %d: pools\n", i), 1;
    if (!normalises())
      return std::printf("case %d: batch norm\n", i), 1;
    if (!applies_rows(tables, count))
      return std::printf("case %d: rows applied\n", i), 1;
    if (!ternarizes(tables, count))
      return std::printf("case %d: weights\n", i), 1;
  }
  std::printf("%d convolutions\n", cases);
  return 0;
}
