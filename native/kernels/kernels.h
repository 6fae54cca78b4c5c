// The kernels: one table per instruction set. Plain pointers, no exceptions, no allocation.
//
// Maps are [height][width][channels]. Every kernel computes the bits of the scalar one: integers are exact in
// any order, and float operations are as stated, in the stated order, without contraction.
#pragma once

#include <cstdint>

#include "bfloat16.h"
#include "chunk.h"

namespace hdlif {

struct ConvShape {
  int32_t in_height, in_width, in_channels;
  int32_t out_height, out_width, out_channels;
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
  int32_t max_code;                       // largest code of the input; 0 for float input
  int32_t max_weight;                     // largest magnitude of an integer weight
  int32_t dilation_y = 1, dilation_x = 1; // distance between neighbouring taps of the kernel
  int32_t groups = 1; // groups of channels; an output channel reads only input channels of its group

  // Returns the number of output channels that the weights of an event are padded to.
  int32_t lanes() const { return (out_channels + 15) / 16 * 16; }
};

// A non-zero entry of an input row, or a unit of entries. Its weights begin `offset` after those of the row's
// first entry under the kernel's first column. Weights are [ky][kx][ci][co], and the next pixel of the row is
// under the next kernel column, so the weights of neighbouring pixels are contiguous. The field of an output
// pixel in one input row is therefore one run of events.
struct CodeEvent {
  uint32_t offset;
  int32_t code;
};
struct FloatEvent {
  uint32_t offset;
  float value;
};
struct UnitEvent {
  uint32_t offset;
  uint16_t entry; // offset of the unit's products in the table
  uint16_t bound; // upper bound of the products' magnitudes
};

// The events of one input row; those of pixel x are starts[x] <= i < starts[x + 1].
template <typename Event> struct EventRow {
  const Event* events = nullptr; // null for padding
  const int32_t* starts = nullptr;
};

// Weights for the look-up kernel. A unit is 1 or 2 input channels. Each unit has one byte per output channel
// that encodes its weights: index = sum of (weight + max_weight) * symbols^i, below 16, with symbols = 2 *
// max_weight + 1. For each possible unit of codes, or of differences of codes between two steps, the table
// has 16 bytes: for each index, the sum of difference * weight. A byte shuffle then looks up one product per
// lane. The entry of differences d0, d1 is (d0 + max_code) + (2 * max_code + 1) * (d1 + max_code).
struct LookupForm {
  int32_t per_unit = 0; // input channels per unit; 0: the layer has no such form
  int32_t units = 0;    // per pixel
  int32_t lanes = 0;    // output channels, padded to a multiple of 16
};
constexpr int kTableEntryBits = 4;
constexpr int kTableEntry = 1 << kTableEntryBits;

// Code that only tiles need is not compiled for architectures without them.
#if defined(__wasm__)
constexpr bool kMayHaveTiles = false;
#else
constexpr bool kMayHaveTiles = true;
#endif

// Tiles: 16 rows of 64 codes by 64 codes of 16 output channels.
constexpr int kTileRows = 16, kTileLanes = 16, kTileDepth = 64;

// Rows of codes as tiles. Row r of tile i begins at codes + first[i] + r * row_bytes, plus each of the
// `taps`. Its sums are written to y + to[16 * i + r]. If `to` is kNowhere, the row only fills up a tile.
constexpr int64_t kNowhere = -1;
struct TileRows {
  const uint8_t* codes;
  const int64_t *first, *taps, *to;
  int64_t row_bytes;
  int32_t count, depth; // numbers of row tiles and of taps
};

// Weights of two tiles of output channels, [tap][2][code / 4][lane][4], in `bytes`. Weights -1, 0 and 1 can
// instead be `packed`: byte i of 64 contains those 0, 64, 128 and 192 bytes after i. They are then unpacked
// to `bytes`.
struct TileWeights {
  const int8_t* bytes;
  const uint8_t* packed;
  int8_t* unpacked;
};

// y[channel] of each row = the sum of code * weight, an exact int32, rounded to float32 once.
using TileKernel = void (*)(const TileRows& rows, const TileWeights& weights, float* y, int32_t channels);

// The number of output channels that the dense kernels sum together.
constexpr int kDenseBlock = 16;

// The number of output channels whose gradients are stored together.
constexpr int kGradientBlock = 32;

// Output pixels per tile of Winograd's convolution, in rows and in columns.
constexpr int kWinogradTile = 4;

// One entry for all channels (columns == 1), or one per channel.
struct Row {
  const float* data;
  int32_t columns;
};

struct Reset {
  bool hard;
  float potential; // potential after a hard reset
};

// Ops that follow a sum in one pass: affine, addition, a neuron and its quantiser; see the kernels of these
// names below.
struct Firing {
  const float *scale = nullptr, *shift = nullptr; // null: no affine
  const float* addend = nullptr;                  // null: no addition
  float* current = nullptr;                       // receives the neuron's input; null if not needed
  float* potential = nullptr;                     // null if the neuron is parallel and has no leak
  Row leak{nullptr, 1}, threshold{nullptr, 1}, inverse_step{nullptr, 1};
  float offset = 0, largest = 0;
};

// Operations on registers, in the order of hdlif.graph.equations.program.OPERATIONS. Comparisons give 1 or 0.
// `minimum` is b if b < a, else a; `maximum` is b if b > a, else a; `select` is a if the first operand is not
// 0, else b.
enum class Operation : int32_t {
  kConstant,
  kAdd,
  kSubtract,
  kMultiply,
  kNegative,
  kAbsolute,
  kFloor,
  kMinimum,
  kMaximum,
  kGreater,
  kGreaterEqual,
  kStep,
  kSelect,
  kCount,
  // Combined operations, which files do not contain: a * b + c with both roundings; max(0, a - b); min(value,
  // floor(a)).
  kMultiplyAdd,
  kSurplus,
  kFloorBelow
};

struct Instruction {
  Operation operation;
  int32_t operands[3];
  float value; // value of a constant, or of kFloorBelow
};

// One step of an equation for a kernel. The registers are the inputs, the states, the rows, and one per
// instruction.
struct EquationStep {
  const Row* rows;
  const Instruction* instructions;
  const int32_t *after,
      *kept; // registers: the new value of each state, and the values written in addition to the result
  int32_t inputs, states, row_count, instruction_count, kept_count, result;

  int32_t first_row() const { return inputs + states; }
  int32_t first() const { return first_row() + row_count; } // the register of the first instruction
};

// Limits of one neuron's equation, including the instructions added by its neighbours in a chain.
constexpr int32_t kMaxStates = 16, kMaxEquationRows = 64, kMaxInstructions = 256;
constexpr int32_t kMaxInputs = 8, kMoreRows = 16, kMoreInstructions = 64;
constexpr int32_t kMaxRegisters =
    kMaxInputs + kMaxStates + kMaxEquationRows + kMoreRows + kMaxInstructions + kMoreInstructions;

// The number of entries in a block; the registers of a block stay in the cache.
constexpr int32_t kEquationBlock = 256;

struct PoolShape {
  int32_t in_height, in_width, channels;
  int32_t out_height, out_width;
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

struct Kernels {
  const char* name;

  // Convolution; only the grouped kernels support groups. Gathering converts one input row [width][channels]
  // to events and width + 1 starts; `stride` is the step of `offset` per entry or unit. Row kernels compute
  // one output row y [out_width][out_channels] from kernel_y input rows.

  void (*gather_codes)(const uint8_t* row, int32_t width, int32_t channels, int32_t stride, CodeEvent* events,
                       int32_t* starts);
  void (*gather_code_values)(const uint8_t* row, int32_t width, int32_t channels, int32_t stride,
                             FloatEvent* events, int32_t* starts);
  void (*gather_floats)(const float* row, int32_t width, int32_t channels, int32_t stride, FloatEvent* events,
                        int32_t* starts);
  // For units: gathers those that differ from `before`, the row at the previous step, or from 0 if `before`
  // is null.
  void (*gather_units)(const uint8_t* row, const uint8_t* before, int32_t width, const ConvShape& shape,
                       const LookupForm& form, UnitEvent* events, int32_t* starts);
  // Returns the number of a row's codes that differ from `before`, minus the number that are not zero.
  int64_t (*excess_of_changes)(const uint8_t* row, const uint8_t* before, int64_t count);
  // Returns the number of codes of a row that are not zero.
  int64_t (*live_codes)(const uint8_t* row, int64_t count);

  // Weights are [ky][kx][ci][lane], with lanes() output channels.
  //
  // Integer sums: partial sums of at most 32767 / (max_code * max_weight) events (at least one: 255 * 127 =
  // 32385) are int16, and totals are int32. The graph's reader rejects sums that may exceed 2^31. Rounded to
  // float32 once.
  void (*code_row)(const EventRow<CodeEvent>* rows, const int8_t* weights, float* y, const ConvShape& shape);
  // The same sums from looked-up products: in int8 while the bounds add up to at most 127, then widened to
  // int16, and after 258 times (32766) to int32. `totals` [out_width][lanes] are the integer sums. If `adds`,
  // they contain the sums of the previous step, and the events are changes to add. Null if the instruction
  // set has no byte shuffle.
  void (*unit_row)(const EventRow<UnitEvent>* rows, const uint8_t* index, const int8_t* table,
                   const LookupForm& form, bool adds, int32_t* totals, float* y, const ConvShape& shape);
  // The same sums with every product, four channels at a time. `rows` are padded input rows [pixel][channel],
  // with channels padded to quads of four; null outside the map. Weights are [block][ky][kx][quad][lane][4],
  // with `dense_code_lanes` output channels per block. Pairs are summed in int16: the products of two
  // channels of all taps and quads add up to at most 32767. Null if the instruction set lacks these
  // instructions.
  void (*dense_codes)(const uint8_t* const* rows, const int8_t* weights, int32_t quads, float* y,
                      const ConvShape& shape);
  int32_t dense_code_lanes;
  // The same in int32, with "avx512vnni" instructions, which the machine must support.
  void (*dense_codes_vnni)(const uint8_t* const* rows, const int8_t* weights, int32_t quads, float* y,
                           const ConvShape& shape);
  // The same sums with every product, on tiles; null without tiles.
  TileKernel sum_tiles;
  // Products in bfloat16, on tiles; null without such tiles.
  const BfloatKernels* bfloat16;
  // Float sums: (ky, kx, ci) ascending, one multiplication and one addition at a time from +0. Skipping x = 0
  // changes no bit: weights are finite, so the product is a zero, and a sum that began at +0 is never -0.
  void (*float_row)(const EventRow<FloatEvent>* rows, const float* weights, float* y, const ConvShape& shape);
  void (*float_row_low_bit)(const EventRow<FloatEvent>* rows, const int8_t* weights, float* y,
                            const ConvShape& shape);
  // The same sums for rows that are mostly non-zero. `rows` are the input rows, null for padding; weights are
  // [block][ky][kx][ci][kDenseBlock], with padded output channels.
  void (*dense_row)(const float* const* rows, const float* weights, float* y, const ConvShape& shape);
  void (*dense_row_low_bit)(const float* const* rows, const int8_t* weights, float* y,
                            const ConvShape& shape);
  // The same sums for groups of channels, with such rows. Weights are [ky][kx][ci][co], ci in the group of
  // co. Sums of codes and integer weights are exact, in int32, and rounded to float32 once.
  void (*grouped_row)(const float* const* rows, const float* weights, float* y, const ConvShape& shape);
  void (*grouped_row_low_bit)(const float* const* rows, const int8_t* weights, float* y,
                              const ConvShape& shape);
  void (*grouped_row_of_codes)(const uint8_t* const* rows, const float* weights, float* y,
                               const ConvShape& shape);
  void (*grouped_row_of_codes_low_bit)(const uint8_t* const* rows, const int8_t* weights, float* y,
                                       const ConvShape& shape);

  // Elementwise ops. Inputs and outputs do not overlap; a potential is updated in place.

  // y = x * scale + shift
  void (*affine)(const float* x, float* y, const float* scale, const float* shift, int64_t pixels,
                 int32_t channels);
  // m = leak * v + x; y = max(m - threshold, 0); v = min(m, threshold)
  void (*hd_lif)(const float* x, float* potential, float* y, Row leak, Row threshold, int64_t pixels,
                 int32_t channels);
  // y = max(x - threshold, 0)
  void (*parallel)(const float* x, float* y, Row threshold, int64_t pixels, int32_t channels);
  // m = leak * v + x; y = m >= threshold; v = y ? (hard ? reset.potential : m - threshold) : m
  void (*lif)(const float* x, float* potential, uint8_t* y, Row leak, Row threshold, Reset reset,
              int64_t pixels, int32_t channels);
  // y = min(floor(max(x, 0) * inverse_step + offset), largest); largest <= 255
  void (*quantise)(const float* x, uint8_t* y, Row inverse_step, float offset, float largest, int64_t pixels,
                   int32_t channels);
  // affine, add, hd_lif or parallel, quantise
  void (*fire)(const float* x, uint8_t* y, const Firing& firing, int64_t pixels, int32_t channels);
  // As above, but the pixels are successive steps of one pixel with one potential.
  void (*hd_lif_over_time)(const float* x, float* potential, float* y, Row leak, Row threshold, int64_t steps,
                           int32_t channels);
  void (*lif_over_time)(const float* x, float* potential, uint8_t* y, Row leak, Row threshold, Reset reset,
                        int64_t steps, int32_t channels);
  void (*fire_over_time)(const float* x, uint8_t* y, const Firing& firing, int64_t steps, int32_t channels);
  // Computes a step of an equation for every entry. Writes the result to `y` or, if all results are in
  // 0..255, to `codes`; the other pointer is null. Updates the states in place, and copies other registers to
  // `kept`, which overlaps with nothing else. `registers` has room for kEquationBlock entries of each.
  void (*equation)(const float* const* inputs, float* const* states, float* const* kept, float* y,
                   uint8_t* codes, const EquationStep& step, float* registers, int64_t pixels,
                   int32_t channels);
  // z = x + y
  void (*add)(const float* x, const float* y, float* z, int64_t count);
  // Converts codes to float32, exactly.
  void (*widen)(const uint8_t* x, float* y, int64_t count);
  // y = x * sigmoid(bias + sum over j of weight[j] * a[c + j - (kernel - 1) / 2]) for one map. a is the mean
  // of x over the pixels, and 0 beyond the channels; j ascending, products before sums. `scratch` has room
  // for 2 * channels.
  void (*seca)(const float* x, float* y, Row weight, float bias, int64_t pixels, int32_t channels,
               float* scratch);

  // Ops that rearrange or reduce a map compute output row `row` = image * out_height + oy; padding is 0. Sums
  // of codes are exact: in uint8 if the graph's reader permits it, else in float32 (below 2^24). Float sums
  // are row-major from +0. The maximum of floats is the first of equals, and -inf if all are NaN.
  void (*sum_pool)(const float* x, float* y, const PoolShape& shape, int64_t row);
  void (*sum_pool_codes)(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t row);
  void (*sum_pool_code_values)(const uint8_t* x, float* y, const PoolShape& shape, int64_t row);
  void (*max_pool)(const float* x, float* y, const PoolShape& shape, int64_t row);
  void (*max_pool_codes)(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t row);

  // Training: gradients of a convolution of codes. `map` is the gradient of a block of kGradientBlock output
  // channels, which are stored together for each pixel. An event's offset points to the pixel that the
  // kernel's first tap reaches, and `offsets` lead from there to those of the other taps.

  // Append the non-zero codes of a pixel, or their places, to the list of each one's channel. Both read up to
  // 63 bytes beyond the pixel.
  void (*list_codes)(const uint8_t* pixel, int32_t channels, uint32_t offset, FloatEvent** ends);
  void (*list_places)(const uint8_t* pixel, int32_t channels, uint32_t offset, int32_t place,
                      CodeEvent** ends);
  // sums [tap][lane] += value * map, event by event, with one rounding each.
  void (*weight_gradient)(const FloatEvent* events, const FloatEvent* end, const float* map,
                          const int32_t* offsets, int32_t taps, float* sums);
  // sums [event][lane] += weights [tap][lane] * map, tap by tap, with one rounding each; starts at 0 if
  // `begins`. If `found` is not null, it receives the sum of each event's lanes, halves added until one is
  // left, and the sums are invalid. There is at least one tap.
  void (*input_gradient)(const CodeEvent* events, const CodeEvent* end, const float* map,
                         const int32_t* offsets, int32_t taps, const int8_t* weights, bool begins,
                         float* sums, float* found);

  // Training: weights of 1.5 bits. Sums the magnitudes |w|, at most 1 each, that are above a threshold, in
  // float64 with sixteen parallel sums, and counts them. A negative threshold selects all.
  void (*sum_magnitudes)(const float* weights, int64_t count, float threshold, double* sum, int64_t* kept);
  // Writes `scale`, with the sign of the weight, if its magnitude is above the threshold, else 0. Returns the
  // largest magnitude.
  float (*write_ternary)(const float* weights, float* to, int64_t count, float threshold, float scale);
  // Writes -1, 0 or 1 for each weight, and returns the largest magnitude.
  float (*write_signs)(const float* weights, int8_t* to, int64_t count);

  // Training: batch statistics in float64, identical on every instruction set. Add pixels [pixel][channel],
  // and their squares, to the sums of their channels, pixel by pixel; or the pixels of one channel, in
  // sixteen parallel sums.
  void (*add_moments)(const float* pixels, int64_t count, int32_t channels, double* sums, double* squares);
  void (*plane_moments)(const float* plane, int64_t count, double* sum, double* squares);
  // Batch norm by rows (see training/batch_norm.h), for pixels [pixel][channel] or, if `is_plane`, for the
  // pixels of one channel, with one number per row. Compute y = scale * (x - mean) + shift (+ plus), where y
  // may be x; add gradients, and their products with x - mean, to channel sums in float64, identical on every
  // instruction set; and compute (scale *) gradient + (shift + slope * x). Absent operands are null.
  void (*normalise)(const float* x, const float* mean, const float* scale, const float* shift,
                    const float* plus, int64_t count, int32_t channels, bool is_plane, float* y);
  void (*add_row_sums)(const float* gradient, const float* x, const float* mean, int64_t count,
                       int32_t channels, bool is_plane, double* sums, double* products);
  void (*maps_gradient)(const float* gradient, const float* x, const float* scale, const float* shift,
                        const float* slope, int64_t count, int32_t channels, bool is_plane, float* to);

  // Winograd's 3x3 convolution, with multiples of 16 channels; see training/winograd.h. `plane` is the
  // distance between numbers of a tile. Spread: transform a tile and its surroundings; a tile alone, for the
  // kernel gradient; or `winograd_panel` kernels side by side, [tap][kernel]. Collect: transform to the
  // pixels of a tile, except null ones; or to kernels. Multiply: c[i][j] = (adds: c[i][j] +) the sum over k
  // of a[i][k] * b[k][j], for one panel of j.
  void (*winograd_spread)(const float* const* pixels, int32_t channels, float* to, int64_t plane);
  void (*winograd_spread_sums)(const float* const* pixels, int32_t channels, float* to, int64_t plane);
  void (*winograd_spread_kernels)(const float* taps, float* to, int64_t plane);
  void (*winograd_collect)(const float* from, int64_t plane, int32_t channels, float* const* pixels);
  void (*winograd_collect_kernels)(const float* sums, int64_t plane, float* taps);
  void (*winograd_multiply)(const float* a, int64_t a_row, int64_t a_step, int64_t rows, const float* b,
                            int64_t b_row, int64_t count, float* c, int64_t c_row, bool adds);
  int32_t winograd_panel;

  // For training; see chunk.h.
  ChunkKernel<float> chunk_of_floats;
  ChunkKernel<double> chunk_of_doubles;
};

// Lists the kernels of the compiled instruction sets that this machine supports, the best last.
int available_kernels(const Kernels** tables, int room);

} // namespace hdlif
