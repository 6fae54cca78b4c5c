// Batch norm for training, as a scale and a shift per channel computed from sums over a batch.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"

namespace hdlif {

// Maps of a batch: [image][pixel][channel] if `channels_last`, else [image][channel][pixel]. Each group of
// `group` images has its own rows. Results do not depend on the number of threads.
struct NormedMaps {
  int64_t images, group, pixels;
  int32_t channels;
  bool channels_last;
};

// Computes the sums of each group's channels and of their squares, [group][channel].
void batch_moments(const float* x, const NormedMaps& maps, double* totals, double* squares,
                   const Kernels& kernels, int threads);

// Computes the same from the sums of image pieces, [piece][totals, squares][channel]; consecutive pieces form
// a group.
void add_up_moments(const double* of_pieces, int64_t pieces, int64_t group, int64_t channels, double* totals,
                    double* squares);

struct BatchNorm {
  const float *weight, *bias;
  double eps;
  // [row][channel]: updated with each group's statistics (unbiased variance) with weight `momentum`, group
  // after group. Without sums, they are used unchanged for the normalisation.
  float *running_mean, *running_var;
  const int64_t* rows;
  const double* momenta;
};

// Sums for the statistics, [group][channel], over `count` values; null if there are none.
struct Moments {
  const double *totals, *squares;
  int64_t count;
  const float* unit; // the normalised values are unit[channel] * the summed values; 1 if null
};

// Normalisation as scale * (x - mean) + shift, [group][channel]. x are the summed values or, if `are_units`,
// those times their unit. The slope is 1 / sqrt(var + eps), or null if not needed.
struct NormRows {
  float *mean, *scale, *shift, *slope;
};
void batch_norm_rows(const BatchNorm& norm, const Moments& moments, bool are_units, int64_t groups,
                     int64_t channels, const NormRows& rows);

// Gradients derived from those of scale and shift, [group][channel]: of weight and bias, [channel]; and a
// shift and a slope of x, [group][channel], for the gradient of x through the statistics, over `count`
// values. The x of the rows must be the summed values.
struct RowGradients {
  const float *of_scale, *of_shift;
  float *of_weight, *of_bias, *x_shift, *x_slope;
};
void batch_norm_gradients(const NormRows& rows, int64_t count, int64_t groups, int64_t channels,
                          const RowGradients& gradients);

// y = scale * (x - mean) + shift, plus `plus` unless it is null; `plus` has `plus_images` maps, which repeat.
// y may be x.
void normalise(const float* x, const NormRows& rows, const float* plus, int64_t plus_images,
               const NormedMaps& maps, float* y, const Kernels& kernels, int threads);

// Computes the gradients of scale and shift, [group][channel], from the gradient of y.
void sum_row_gradients(const float* gradient, const float* x, const float* mean, const NormedMaps& maps,
                       float* of_scale, float* of_shift, const Kernels& kernels, int threads);

// to = (scale *) gradient + shift + slope * x, rows [group][channel]; no scale if null. `to` may be the
// gradient.
void maps_gradient(const float* gradient, const float* x, const float* scale, const float* shift,
                   const float* slope, const NormedMaps& maps, float* to, const Kernels& kernels,
                   int threads);

} // namespace hdlif
