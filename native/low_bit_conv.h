// A convolution of codes by low-bit weights, and its gradients, of a whole batch: what trains.
//
// Maps are [image][height][width][channels]. Nothing depends on the number of threads.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "lookup.h"
#include "memory.h"

namespace hdlif {

class LowBitConv {
public:
  // Weights [co][ci][ky][kx] are scale, -scale or 0, with a scale for each output channel, which is found;
  // shape.max_weight is 1. Throws std::invalid_argument where the shape is grouped, dilated or none of a
  // convolution, or a sum may pass 2^24.
  LowBitConv(const ConvShape& shape, const float* weights, float* scale, const Kernels& kernels, int threads);

  const ConvShape& shape() const { return shape_; }

  // y = scale[co] * the sum of codes and weights, which is exact; one rounding.
  void forward(const uint8_t* codes, int64_t images, const float* scale, float* y, int threads) const;

  // What comes back from dy to the weights, [co][ci][ky][kx]: the sum over pixels of codes * dy, times
  // `step`. No code of 0 is multiplied.
  struct ToWeights {
    const uint8_t* codes;
    float step;
    float* gradient;
  };
  // And to the input where `live` is not 0, elsewhere 0: the sum of weight * scale[co] * dy.
  struct ToInput {
    const uint8_t* live;
    const float* scale;
    float* gradient;
  };
  // Either may be null.
  void backward(const float* dy, int64_t images, const ToWeights* weights, const ToInput* input,
                int threads) const;

private:
  ConvShape shape_;
  const Kernels& kernels_;
  LookupForm form_;
  LineVector<uint8_t> index_;
  LineVector<int8_t> table_;
  LineVector<int8_t> weights_; // [ky][kx][ci][lane], where there is no form
  LineVector<int8_t> signs_;   // [co][ci][ky][kx]
};

} // namespace hdlif
