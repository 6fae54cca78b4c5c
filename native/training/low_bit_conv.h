// A convolution of codes with low-bit weights and its gradients over a batch, for training.
//
// Maps are [image][height][width][channels]. Results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"
#include "../lookup.h"
#include "../memory.h"
#include "../tiles.h"

namespace hdlif {

class LowBitConv {
public:
  // Weights [co][ci][ky][kx] are scale, -scale or 0; the scale of each output channel is derived from them.
  // shape.max_weight is 1. If more than the fraction `most_events` of an image's codes is nonzero, no code is
  // skipped; a negative fraction selects one that suits the shape. Throws std::invalid_argument if the shape
  // is grouped, dilated or not a convolution's, or if a sum may exceed 2^24.
  LowBitConv(const ConvShape& shape, const float* weights, float* scale, const Kernels& kernels, int threads,
             float most_events = -1);

  const ConvShape& shape() const { return shape_; }

  // Totals and squares of the sums' channels per group of images, [group][co]. Unless `sums_squares`, they
  // may depend on the number of threads.
  struct ToMoments {
    int64_t group;
    double *totals, *squares;
  };
  // y = scale[co] * the exact sum of codes times weights, rounded once. If `scale` is null, y is the sum.
  // `moments` may be null.
  void forward(const uint8_t* codes, int64_t images, const float* scale, float* y, const ToMoments* moments,
               int threads) const;

  // Returns whether the squares of a group's sums add up to at most 2^53 for any codes.
  bool sums_squares(int64_t group) const;

  // Computes the weight gradient [co][ci][ky][kx]: the sum over pixels of codes * dy, times `step`. Skips
  // codes of 0.
  struct ToWeights {
    const uint8_t* codes;
    float step;
    float* gradient;
  };
  // The input gradient, the sum of weight * scale[co] * dy where `live` is not 0, and 0 elsewhere.
  struct ToInput {
    const uint8_t* live;
    const float* scale;
    float* gradient;
  };
  // Either may be null.
  void backward(const float* dy, int64_t images, const ToWeights* weights, const ToInput* input,
                int threads) const;

  // Returns whether this machine has tiles for bfloat16 and the channels fill them.
  bool multiplies_bfloat16() const;
  // The same gradients from dy, or scale * dy, in bfloat16, with every product; `live` may be null. Requires
  // `multiplies_bfloat16`.
  void backward_in_bfloat16(const float* dy, int64_t images, const ToWeights* weights, const ToInput* input,
                            int threads) const;

private:
  // Returns the number of pieces in which an image is summed.
  int64_t strips(int64_t images, int threads) const;
  void pack_quads(int threads);
  void lay_tiles(int threads);
  bool sums_all_on_tiles() const { return tiles_.depth > 0 && most_events_ <= 0; }
  bool is_dense(const uint8_t* codes, int64_t count) const;
  template <typename Write>
  void sum_on_tiles(const uint8_t* codes, int64_t first, int64_t last, const Write& write) const;
  template <typename Write>
  void each_row(const uint8_t* codes, int64_t images, int threads, Write write) const;

  ConvShape shape_;
  const Kernels& kernels_;
  LookupForm form_;
  RawVector<uint8_t> index_;
  LineVector<int8_t> table_;
  LineVector<int8_t> weights_; // [ky][kx][ci][lane], if there is no form
  RawVector<int8_t> signs_;    // [co][ci][ky][kx], with room for 3 more
  // If every product is computed without tiles: the kernel for it (else null), and
  // [block][ky][kx][quad][lane][4].
  decltype(Kernels::dense_codes) dense_ = nullptr;
  float most_events_;
  int32_t quads_ = 0;
  RawVector<int8_t> of_quads_;
  TileForm tiles_; // without taps if not computed on tiles
  LineVector<int8_t> of_tiles_;
};

} // namespace hdlif
