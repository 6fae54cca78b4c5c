// A convolution of codes by low-bit weights, and its gradients, of a whole batch: what trains.
//
// Maps are [image][height][width][channels]. Nothing depends on the number of threads.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"
#include "../lookup.h"
#include "../memory.h"
#include "../tiles.h"

namespace hdlif {

class LowBitConv {
public:
  // Weights [co][ci][ky][kx] are scale, -scale or 0, with a scale for each output channel, which is found;
  // shape.max_weight is 1. Where more than a share `most_events` of an image's codes is not 0, none is
  // skipped; below 0, a share that suits the shape. Throws std::invalid_argument where the shape is grouped,
  // dilated or none of a convolution, or a sum may pass 2^24.
  LowBitConv(const ConvShape& shape, const float* weights, float* scale, const Kernels& kernels, int threads,
             float most_events = -1);

  const ConvShape& shape() const { return shape_; }

  // Of each group of so many images, what the channels of the sums add up to, and their squares,
  // [group][co]. Where not `sums_squares` they may depend on the number of threads.
  struct ToMoments {
    int64_t group;
    double *totals, *squares;
  };
  // y = scale[co] * the sum of codes and weights, which is exact; one rounding. The sums themselves where
  // `scale` is null; `moments` may be null.
  void forward(const uint8_t* codes, int64_t images, const float* scale, float* y, const ToMoments* moments,
               int threads) const;

  // Whether the squares of a group's sums add up to at most 2^53, whatever the codes are.
  bool sums_squares(int64_t group) const;

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

  // Whether tiles multiply bfloat16 here, and the channels fill them.
  bool multiplies_bfloat16() const;
  // The same gradients from dy, or scale * dy, in bfloat16, with every product; `live` may be null. Only
  // where `multiplies_bfloat16`.
  void backward_in_bfloat16(const float* dy, int64_t images, const ToWeights* weights, const ToInput* input,
                            int threads) const;

private:
  // In how many pieces an image is summed.
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
  LineVector<int8_t> weights_; // [ky][kx][ci][lane], where there is no form
  RawVector<int8_t> signs_;    // [co][ci][ky][kx], with room for 3 more
  // Where every product is computed, and not on tiles: what computes it (null: nothing), and
  // [block][ky][kx][quad][lane][4].
  decltype(Kernels::dense_codes) dense_ = nullptr;
  float most_events_;
  int32_t quads_ = 0;
  RawVector<int8_t> of_quads_;
  TileForm tiles_; // without taps where it is not computed on tiles
  LineVector<int8_t> of_tiles_;
};

} // namespace hdlif
