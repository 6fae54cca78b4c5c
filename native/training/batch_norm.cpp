#include "batch_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "training_pool.h"

namespace hdlif {

namespace {

// Pixels of an image, or planes, that a thread processes together: few enough that the channel sums of two
// maps stay in the cache.
constexpr int64_t kRun = 32;
// Pixels summed by one thread.
constexpr int64_t kSummed = 8 * kRun;
// Products that take as long as loading and storing an entry.
constexpr int64_t kProducts = 16;

// Calls body(i, image, count, at, row) for each run of an image's pixels, or for each plane: i is its index,
// `at` its offset in the maps, and `row` its offset in the rows.
template <typename Body> void each_run(const NormedMaps& maps, int64_t of_run, int threads, Body&& body) {
  const int64_t channels = maps.channels, size = maps.pixels * channels;
  const int64_t runs = maps.channels_last ? pieces_of(maps.pixels, of_run) : channels;
  const int64_t length = maps.channels_last ? of_run * channels : maps.pixels;
  share_work(maps.images * runs, length * kProducts, threads, [&](int64_t i) {
    const int64_t image = i / runs, run = i % runs, row = image / maps.group * channels;
    if (!maps.channels_last)
      return body(i, image, maps.pixels, image * size + run * maps.pixels, row + run);
    const int64_t first = run * of_run;
    body(i, image, std::min(of_run, maps.pixels - first), image * size + first * channels, row);
  });
}

// Fills both [group][channel] with the sums that add(count, at, row, sums, others) computes per channel, in
// pieces of `of_piece` pixels of an image, or in planes.
template <typename Add>
void sum_channels(const NormedMaps& maps, int64_t of_piece, int threads, double* totals, double* others,
                  Add&& add) {
  const int64_t channels = maps.channels, pieces = maps.channels_last ? pieces_of(maps.pixels, of_piece) : 1;
  // [image and piece][totals, others][channel]
  std::vector<double> found(size_t(maps.images * pieces * 2 * channels));
  each_run(maps, of_piece, threads, [&](int64_t i, int64_t image, int64_t count, int64_t at, int64_t row) {
    if (!maps.channels_last) {
      double* sum = &found[size_t(i + image * channels)];
      return add(count, at, row, sum, sum + channels);
    }
    double* sums = &found[size_t(i * 2 * channels)];
    for (int64_t first = 0; first < count; first += kRun)
      add(std::min(kRun, count - first), at + first * channels, row, sums, sums + channels);
  });
  add_up_moments(found.data(), maps.images * pieces, maps.group * pieces, channels, totals, others);
}

} // namespace

void batch_moments(const float* x, const NormedMaps& maps, double* totals, double* squares,
                   const Kernels& kernels, int threads) {
  sum_channels(maps, maps.pixels, threads, totals, squares,
               [&](int64_t count, int64_t at, int64_t, double* sums, double* of_squares) {
                 if (maps.channels_last)
                   kernels.add_moments(x + at, count, maps.channels, sums, of_squares);
                 else
                   kernels.plane_moments(x + at, count, sums, of_squares);
               });
}

void add_up_moments(const double* of_pieces, int64_t pieces, int64_t group, int64_t channels, double* totals,
                    double* squares) {
  const int64_t size = pieces_of(pieces, group) * channels;
  std::fill_n(totals, size, 0.0);
  std::fill_n(squares, size, 0.0);
  for (int64_t piece = 0; piece < pieces; ++piece, of_pieces += 2 * channels)
    for (int64_t c = 0, to = piece / group * channels; c < channels; ++c, ++to) {
      totals[to] += of_pieces[c];
      squares[to] += of_pieces[channels + c];
    }
}

void batch_norm_rows(const BatchNorm& norm, const Moments& moments, bool are_units, int64_t groups,
                     int64_t channels, const NormRows& rows) {
  const double n = double(moments.count);
  for (int64_t g = 0; g < groups; ++g) {
    float *running_mean = norm.running_mean + norm.rows[g] * channels,
          *running_var = norm.running_var + norm.rows[g] * channels;
    for (int64_t c = 0, at = g * channels; c < channels; ++c, ++at) {
      const double unit = moments.unit == nullptr ? 1.0 : double(moments.unit[c]);
      double mean = running_mean[c], var = running_var[c];
      if (moments.totals != nullptr) {
        const double of_values = moments.totals[at] / n;
        mean = unit * of_values;
        const double distances =
            unit * unit * std::max(moments.squares[at] - moments.totals[at] * of_values, 0.0);
        var = distances / n;
        const double share = norm.momenta[g];
        running_mean[c] = float(share * mean + (1 - share) * running_mean[c]);
        running_var[c] = float(share * (distances / (n - 1)) + (1 - share) * running_var[c]);
      }
      const double slope = 1 / std::sqrt(var + norm.eps), of_x = are_units ? 1.0 : unit;
      rows.scale[at] = float(norm.weight[c] * slope * of_x);
      // Weights that are all 0 have no unit: the normalised values are 0.
      rows.mean[at] = of_x == 0 ? 0.0f : float(mean / of_x);
      rows.shift[at] = of_x == 0 ? float(norm.bias[c] - norm.weight[c] * slope * mean) : norm.bias[c];
      if (rows.slope != nullptr)
        rows.slope[at] = float(slope);
    }
  }
}

void batch_norm_gradients(const NormRows& rows, int64_t count, int64_t groups, int64_t channels,
                          const RowGradients& gradients) {
  const double n = double(count);
  for (int64_t c = 0; c < channels; ++c) {
    double of_weight = 0, of_bias = 0;
    for (int64_t at = c; at < groups * channels; at += channels) {
      const double scale = rows.scale[at], slope = rows.slope[at];
      const double of_scale = gradients.of_scale[at], of_shift = gradients.of_shift[at];
      of_weight += of_scale * slope;
      of_bias += of_shift;
      const double by_distance = -scale * slope * slope * of_scale / n;
      gradients.x_slope[at] = float(by_distance);
      gradients.x_shift[at] = float(-scale * of_shift / n - by_distance * rows.mean[at]);
    }
    gradients.of_weight[c] = float(of_weight);
    gradients.of_bias[c] = float(of_bias);
  }
}

void normalise(const float* x, const NormRows& rows, const float* plus, int64_t plus_images,
               const NormedMaps& maps, float* y, const Kernels& kernels, int threads) {
  const int64_t size = maps.pixels * maps.channels;
  each_run(maps, kRun, threads, [&](int64_t, int64_t image, int64_t count, int64_t at, int64_t row) {
    const float* more = plus == nullptr ? nullptr : plus + at + (image % plus_images - image) * size;
    kernels.normalise(x + at, rows.mean + row, rows.scale + row, rows.shift + row, more, count, maps.channels,
                      !maps.channels_last, y + at);
  });
}

void sum_row_gradients(const float* gradient, const float* x, const float* mean, const NormedMaps& maps,
                       float* of_scale, float* of_shift, const Kernels& kernels, int threads) {
  const size_t rows = size_t(pieces_of(maps.images, maps.group) * maps.channels);
  std::vector<double> totals(rows), products(rows);
  sum_channels(maps, kSummed, threads, totals.data(), products.data(),
               [&](int64_t count, int64_t at, int64_t row, double* sums, double* of_products) {
                 kernels.add_row_sums(gradient + at, x + at, mean + row, count, maps.channels,
                                      !maps.channels_last, sums, of_products);
               });
  std::copy(products.begin(), products.end(), of_scale);
  std::copy(totals.begin(), totals.end(), of_shift);
}

void maps_gradient(const float* gradient, const float* x, const float* scale, const float* shift,
                   const float* slope, const NormedMaps& maps, float* to, const Kernels& kernels,
                   int threads) {
  each_run(maps, kRun, threads, [&](int64_t, int64_t, int64_t count, int64_t at, int64_t row) {
    kernels.maps_gradient(gradient + at, x + at, scale == nullptr ? nullptr : scale + row, shift + row,
                          slope + row, count, maps.channels, !maps.channels_last, to + at);
  });
}

} // namespace hdlif
