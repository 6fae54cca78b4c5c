// Winograd's convolutions, drawn at random: they are those of plain loops in float64 but for rounding, the
// bits do not depend on the number of threads, and nothing beyond what is given is read or written (for the
// sanitizers).
//
//   winograd_test [INSTRUCTIONS] [CASES]
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "training/winograd.h"

using namespace hdlif;

namespace {

std::mt19937 generator(20261128);

int32_t draw(int32_t low, int32_t high) {
  return low + int32_t(generator() % uint32_t(high - low + 1));
}

std::vector<float> drawn(int64_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(normal(generator));
  return values;
}

struct Case {
  WinogradShape shape;
  std::vector<float> x, dy, weights;

  Case() {
    shape = {draw(1, 5), draw(1, 11), draw(1, 11), 16 * draw(1, 5), 16 * draw(1, 5)};
    const int64_t pixels = shape.images * shape.height * shape.width;
    x = drawn(pixels * shape.in_channels);
    dy = drawn(pixels * shape.out_channels);
    weights = drawn(int64_t(shape.in_channels) * shape.out_channels * 9);
  }
};

struct Results {
  std::vector<float> y, dx, dw;
};

// Calls each(output pixel, input pixel, tap) for all that a convolution adds up.
template <typename Each> void for_taps(const WinogradShape& s, Each each) {
  for (int64_t n = 0; n < s.images; ++n)
    for (int64_t y = 0; y < s.height; ++y)
      for (int64_t x = 0; x < s.width; ++x)
        for (int64_t ky = 0; ky < 3; ++ky)
          for (int64_t kx = 0; kx < 3; ++kx) {
            const int64_t in_y = y + ky - 1, in_x = x + kx - 1;
            if (in_y >= 0 && in_y < s.height && in_x >= 0 && in_x < s.width)
              each((n * s.height + y) * s.width + x, (n * s.height + in_y) * s.width + in_x, 3 * ky + kx);
          }
}

struct Sums {
  std::vector<double> y, dx, dw;

  Sums(const Case& c) : y(c.dy.size()), dx(c.x.size()), dw(c.weights.size()) {
    const int64_t in = c.shape.in_channels, out = c.shape.out_channels;
    for_taps(c.shape, [&](int64_t to, int64_t from, int64_t tap) {
      for (int64_t o = 0; o < out; ++o)
        for (int64_t i = 0; i < in; ++i) {
          const size_t w = size_t((o * in + i) * 9 + tap), a = size_t(from * in + i),
                       b = size_t(to * out + o);
          y[b] += double(c.x[a]) * c.weights[w];
          dx[a] += double(c.dy[b]) * c.weights[w];
          dw[w] += double(c.dy[b]) * c.x[a];
        }
    });
  }
};

Results run(const Case& c, const Kernels& kernels, int threads) {
  const WinogradShape& s = c.shape;
  Results found{std::vector<float>(c.dy.size()), std::vector<float>(c.x.size()),
                std::vector<float>(c.weights.size())};
  const auto of = [&](bool is_back) {
    return WinogradKernels(c.weights.data(), s.out_channels, s.in_channels, is_back, kernels, threads);
  };
  winograd_convolve(c.x.data(), s, of(false), found.y.data(), threads);
  winograd_convolve(c.dy.data(), s, of(true), found.dx.data(), threads);
  winograd_kernel_gradient(c.x.data(), c.dy.data(), s, found.dw.data(), kernels, threads);
  return found;
}

bool is_near(const std::vector<float>& found, const std::vector<double>& right) {
  double largest = 0, off = 0;
  for (size_t i = 0; i < right.size(); ++i) {
    largest = std::max(largest, std::abs(right[i]));
    off = std::max(off, std::abs(found[i] - right[i]));
  }
  return off <= 2e-5 * largest;
}

} // namespace

int main(int argc, char** argv) {
  const Kernels* tables[8];
  const int count = available_kernels(tables, 8), cases = argc > 2 ? std::atoi(argv[2]) : 100;
  for (int i = 0; i < cases; ++i) {
    const Case one;
    const Sums right(one);
    for (int k = 0; k < count; ++k) {
      if (argc > 1 && std::string(argv[1]) != "all" && std::string(argv[1]) != tables[k]->name)
        continue;
      const Results found = run(one, *tables[k], 1), shared = run(one, *tables[k], 3);
      if (!is_near(found.y, right.y) || !is_near(found.dx, right.dx) || !is_near(found.dw, right.dw))
        return std::printf("case %d, %s is not what plain loops give\n", i, tables[k]->name), 1;
      if (found.y != shared.y || found.dx != shared.dx || found.dw != shared.dw)
        return std::printf("case %d, %s depends on threads\n", i, tables[k]->name), 1;
    }
  }
  std::printf("%d convolutions\n", cases);
  return 0;
}
