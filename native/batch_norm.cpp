#include "batch_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "training_pool.h"

namespace hdlif {

void batch_moments(const float* maps, int64_t images, int64_t group, int64_t pixels, int32_t channels,
                   bool channels_last, double* totals, double* squares, const Kernels& kernels, int threads) {
  const int64_t size = pixels * channels;
  // [image][totals, squares][channel]
  std::vector<double> of_images(size_t(images * 2 * channels));
  share_work(images, size, threads, [&](int64_t image) {
    const float* from = maps + image * size;
    double *sums = &of_images[size_t(image * 2 * channels)], *of_squares = sums + channels;
    if (channels_last)
      return kernels.add_moments(from, pixels, channels, sums, of_squares);
    for (int32_t c = 0; c < channels; ++c)
      kernels.plane_moments(from + c * pixels, pixels, sums + c, of_squares + c);
  });
  add_up_moments(of_images.data(), images, group, channels, totals, squares);
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
      // Weights that are all 0 have no unit: what is normalised is 0.
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

void add_statistics_gradient(const float* x, const float* shift, const float* slope, int64_t images,
                             int64_t group, int64_t pixels, int64_t channels, bool channels_last,
                             float* gradient, int threads) {
  // Entries that have a row's values in turn, or one of them.
  const int64_t rows = channels_last ? pixels : channels, length = channels_last ? channels : pixels;
  constexpr int64_t kRows = 16;
  const int64_t pieces = pieces_of(rows, kRows);
  share_work(images * pieces, kRows * length, threads, [&](int64_t piece) {
    const int64_t image = piece / pieces, first = piece % pieces * kRows;
    const float *of_shift = shift + image / group * channels, *of_slope = slope + image / group * channels;
    for (int64_t row = first; row < std::min(first + kRows, rows); ++row) {
      const float* from = x + (image * rows + row) * length;
      float* to = gradient + (image * rows + row) * length;
      if (channels_last)
        for (int64_t i = 0; i < length; ++i)
          to[i] += of_shift[i] + of_slope[i] * from[i];
      else
        for (int64_t i = 0; i < length; ++i)
          to[i] += of_shift[row] + of_slope[row] * from[i];
    }
  });
}

} // namespace hdlif
