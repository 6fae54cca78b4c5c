// Batch norm as a scale and a shift for each channel, from sums over a batch; what trains.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"

namespace hdlif {

// Maps of a batch, [image][pixel][channel] where `channels_last`, else [image][channel][pixel]; a group of so
// many images has rows of its own. Nothing depends on the number of threads.
struct NormedMaps {
  int64_t images, group, pixels;
  int32_t channels;
  bool channels_last;
};

// What the channels of each group add up to, and their squares, [group][channel].
void batch_moments(const float* x, const NormedMaps& maps, double* totals, double* squares,
                   const Kernels& kernels, int threads);

// The same from what pieces of the images add up to, [piece][totals, squares][channel], of each group of so
// many pieces in turn.
void add_up_moments(const double* of_pieces, int64_t pieces, int64_t group, int64_t channels, double* totals,
                    double* squares);

struct BatchNorm {
  const float *weight, *bias;
  double eps;
  // [row][channel]: those of a group's row take a share `momentum` of the group's (the variance unbiased),
  // group after group; as they are, they are what is normalised by where there are no sums.
  float *running_mean, *running_var;
  const int64_t* rows;
  const double* momenta;
};

// The sums that statistics are made of, [group][channel], over `count` values; null: there are none.
struct Moments {
  const double *totals, *squares;
  int64_t count;
  const float* unit; // what is normalised is unit[channel] * the values summed; of 1 where null
};

// scale * (x - mean) + shift normalises, [group][channel]; x are the values that were summed, or, where
// `are_units`, those times their unit. The slope is 1 / sqrt(var + eps); null: not asked for.
struct NormRows {
  float *mean, *scale, *shift, *slope;
};
void batch_norm_rows(const BatchNorm& norm, const Moments& moments, bool are_units, int64_t groups,
                     int64_t channels, const NormRows& rows);

// What the gradients of scale and shift, [group][channel], come to: those of weight and bias, [channel], and
// a scale and a shift of x, [group][channel], which the gradient of x through the statistics is; over `count`
// values. Of rows whose x is what was summed.
struct RowGradients {
  const float *of_scale, *of_shift;
  float *of_weight, *of_bias, *x_shift, *x_slope;
};
void batch_norm_gradients(const NormRows& rows, int64_t count, int64_t groups, int64_t channels,
                          const RowGradients& gradients);

// y = scale * (x - mean) + shift, and plus its entry in `plus`, maps of `plus_images` in turn, where there is
// one; y may be x.
void normalise(const float* x, const NormRows& rows, const float* plus, int64_t plus_images,
               const NormedMaps& maps, float* y, const Kernels& kernels, int threads);

// The gradients of scale and shift, [group][channel], from that of y.
void sum_row_gradients(const float* gradient, const float* x, const float* mean, const NormedMaps& maps,
                       float* of_scale, float* of_shift, const Kernels& kernels, int threads);

// to = (scale *) gradient + shift + slope * x, rows [group][channel]; no scale where null; `to` may be the
// gradient.
void maps_gradient(const float* gradient, const float* x, const float* scale, const float* shift,
                   const float* slope, const NormedMaps& maps, float* to, const Kernels& kernels,
                   int threads);

} // namespace hdlif
