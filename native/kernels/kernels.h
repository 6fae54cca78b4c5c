// The kernels, a table of them for each instruction set. Plain pointers, no exceptions, no allocation.
//
// Maps are [height][width][channels]. Every kernel gives the bits of the scalar one: integers are exact in
// any order, and float operations are the stated ones in the stated order, without contraction.
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

  // The number of output channels that the weights of an event are padded to.
  int32_t lanes() const { return (out_channels + 15) / 16 * 16; }
};

// A non-zero entry of an input row, or a unit of entries. Its weights begin at `offset` from those of the
// row's first entry under the kernel's first column: weights lie [ky][kx][ci][co], and a pixel further right
// in the row is a kernel column further right, so that the events of neighbouring pixels read on in the
// weights. The field of an output pixel in one input row is then one run of events.
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
  const Event* events = nullptr; // null: the row is padding
  const int32_t* starts = nullptr;
};

// Weights for the look-up kernel. A unit is 1 or 2 input channels. For each unit and output channel there is
// one byte, which says the unit's weights: index = sum of (weight + max_weight) * symbols^i, symbols = 2 *
// max_weight
// + 1, below 16. For each possible unit of codes, or of differences of codes between two steps, the table has
// 16 bytes: by index, the sum of difference * weight. One byte shuffle then looks up as many products as it
// has lanes. The entry of differences d0, d1 is (d0 + max_code) + (2 * max_code + 1) * (d1 + max_code).
struct LookupForm {
  int32_t per_unit = 0; // input channels of a unit; 0: the layer has no such form
  int32_t units = 0;    // of a pixel
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

// Rows of codes as tiles: row r of tile i begins at codes + first[i] + r * row_bytes, and there at each of
// the `taps`. Its sums go to y + to[16 * i + r]; to kNowhere, if it is only there to fill a tile.
constexpr int64_t kNowhere = -1;
struct TileRows {
  const uint8_t* codes;
  const int64_t *first, *taps, *to;
  int64_t row_bytes;
  int32_t count, depth; // tiles of rows; taps
};

// Weights of two tiles of output channels, [tap][2][code / 4][lane][4]: `bytes`; or of -1, 0 and 1, of which
// byte i of 64 has those that lie 0, 64, 128 and 192 bytes behind i: `packed`, and `bytes` is what they are
// unpacked to.
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
  float* current = nullptr;                       // receives the neuron's input; null: not needed
  float* potential = nullptr;                     // null: the neuron is parallel, and has no leak
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

// A step of an equation for a kernel. Registers are the inputs, the states, the rows, and one per
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

// Limits of the equation of one neuron, and of the additions by its neighbours in a chain.
constexpr int32_t kMaxStates = 16, kMaxEquationRows = 64, kMaxInstructions = 256;
constexpr int32_t kMaxInputs = 8, kMoreRows = 16, kMoreInstructions = 64;
constexpr int32_t kMaxRegisters =
    kMaxInputs + kMaxStates + kMaxEquationRows + kMoreRows + kMaxInstructions + kMoreInstructions;

// Entries that an equation computes at once, so its registers stay in the cache.
constexpr int32_t kEquationBlock = 256;

struct PoolShape {
  int32_t in_height, in_width, channels;
  int32_t out_height, out_width;
  int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

struct Kernels {
  const char* name;

  // Convolution; only the grouped kernels take groups. Gathering: one input row [width][channels] to its
  // events and width + 1 starts; `stride` is the step of `offset` from one entry (or unit) to the next. Rows:
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
  // The number of codes of a row that differ from `before`, minus the number of codes that are not zero.
  int64_t (*excess_of_changes)(const uint8_t* row, const uint8_t* before, int64_t count);
  // The number of codes of a row that are not zero.
  int64_t (*live_codes)(const uint8_t* row, int64_t count);

  // Weights lie [ky][kx][ci][lane], lanes() output channels.
  //
  // Integer sums: partial sums of at most 32767 / (max_code * max_weight) events (at least one: 255 * 127 =
  // 32385) in int16, totals in int32: the graph's reader refuses fields that may pass 2^31. Rounded to
  // float32 once.
  void (*code_row)(const EventRow<CodeEvent>* rows, const int8_t* weights, float* y, const ConvShape& shape);
  // The same sums from products looked up: of int8 as long as the bounds add up to at most 127, then widened
  // to int16, and after 258 times (32766) to int32. `totals` [out_width][lanes] are the sums as integers;
  // where `adds`, they are those of the step before, to which the events, of changes, are added. Null where
  // the instruction set has no byte shuffle.
  void (*unit_row)(const EventRow<UnitEvent>* rows, const uint8_t* index, const int8_t* table,
                   const LookupForm& form, bool adds, int32_t* totals, float* y, const ConvShape& shape);
  // The same sums with every product, those of four channels at once. `rows` are input rows of
  // [pixel][channel] between their padding, channels padded to quads of four; null where there is no row.
  // Weights lie [block][ky][kx][quad][lane][4], `dense_code_lanes` output channels a block. Sums of pairs are
  // in int16: the products of two channels of all taps and quads add up to at most 32767. Null where there
  // are no such instructions.
  void (*dense_codes)(const uint8_t* const* rows, const int8_t* weights, int32_t quads, float* y,
                      const ConvShape& shape);
  int32_t dense_code_lanes;
  // In int32, with "avx512vnni" instructions, which the machine must support.
  void (*dense_codes_vnni)(const uint8_t* const* rows, const int8_t* weights, int32_t quads, float* y,
                           const ConvShape& shape);
  // The same sums with every product, on tiles; null without tiles.
  TileKernel sum_tiles;
  // Products in bfloat16, on tiles; null without such tiles.
  const BfloatKernels* bfloat16;
  // Float sums: (ky, kx, ci) ascending, one multiplication and one addition at a time from +0. Leaving out x
  // = 0 changes no bit: weights are finite, so the product is a zero, and a sum that began at +0 is never -0.
  void (*float_row)(const EventRow<FloatEvent>* rows, const float* weights, float* y, const ConvShape& shape);
  void (*float_row_low_bit)(const EventRow<FloatEvent>* rows, const int8_t* weights, float* y,
                            const ConvShape& shape);
  // The same sums of rows that are mostly not zero; `rows` are the input rows themselves, null where padding,
  // and weights lie [block][ky][kx][ci][kDenseBlock], output channels padded.
  void (*dense_row)(const float* const* rows, const float* weights, float* y, const ConvShape& shape);
  void (*dense_row_low_bit)(const float* const* rows, const int8_t* weights, float* y,
                            const ConvShape& shape);
  // The same sums where channels are in groups, of rows as above; weights lie [ky][kx][ci][co], ci in the
  // group of co. Sums of codes and integer weights are exact, in int32, and rounded to float32 once.
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
  // A step of an equation for every entry: the result to `y`, or as codes, which it must be in 0..255, to
  // `codes`, of which one is null; the states updated in place; and further registers to `kept`, each of
  // which overlaps with nothing else. `registers` has room for kEquationBlock entries of each.
  void (*equation)(const float* const* inputs, float* const* states, float* const* kept, float* y,
                   uint8_t* codes, const EquationStep& step, float* registers, int64_t pixels,
                   int32_t channels);
  // z = x + y
  void (*add)(const float* x, const float* y, float* z, int64_t count);
  // Converts codes to float32, exactly.
  void (*widen)(const uint8_t* x, float* y, int64_t count);
  // y = x * sigmoid(bias + sum over j of weight[j] * a[c + j - (kernel - 1) / 2]) of one map, a = mean of x
  // over the pixels, 0 beyond the channels; j ascending, products before sums. `scratch` has room for 2 *
  // channels.
  void (*seca)(const float* x, float* y, Row weight, float bias, int64_t pixels, int32_t channels,
               float* scratch);

  // Ops that rearrange or reduce a map. Output row `row` (of row = image * out_height + oy); pads are 0. Sums
  // of codes are exact: in uint8 where the graph's reader grants it, or in float32 (below 2^24). Sums of
  // floats are row-major from +0. The largest of floats is the first of equals, and -inf where all are NaN.
  void (*sum_pool)(const float* x, float* y, const PoolShape& shape, int64_t row);
  void (*sum_pool_codes)(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t row);
  void (*sum_pool_code_values)(const uint8_t* x, float* y, const PoolShape& shape, int64_t row);
  void (*max_pool)(const float* x, float* y, const PoolShape& shape, int64_t row);
  void (*max_pool_codes)(const uint8_t* x, uint8_t* y, const PoolShape& shape, int64_t row);

  // Training: gradients of a convolution of codes. `map` is what comes back to the convolution's output, a
  // block of kGradientBlock channels of it, which lie together for each pixel. An event's offset leads to the
  // pixel that the kernel's first tap carries it to, and `offsets` from there to those of the taps.

  // The codes of a pixel, and the places of those that are not 0, each to the end of its channel's list. Both
  // read up to 63 bytes beyond the pixel.
  void (*list_codes)(const uint8_t* pixel, int32_t channels, uint32_t offset, FloatEvent** ends);
  void (*list_places)(const uint8_t* pixel, int32_t channels, uint32_t offset, int32_t place,
                      CodeEvent** ends);
  // sums [tap][lane] += value * map, event after event, one rounding each.
  void (*weight_gradient)(const FloatEvent* events, const FloatEvent* end, const float* map,
                          const int32_t* offsets, int32_t taps, float* sums);
  // sums [event][lane] += weights [tap][lane] * map, tap after tap, one rounding each; from 0 where it
  // `begins`. Where `found` is not null, the lanes of an event are added up there, halves to each other until
  // one is left, and the sums are of no use. There is a tap.
  void (*input_gradient)(const CodeEvent* events, const CodeEvent* end, const float* map,
                         const int32_t* offsets, int32_t taps, const int8_t* weights, bool begins,
                         float* sums, float* found);

  // Training: weights of 1.5 bits. The sum of the magnitudes |w|, at most 1 each, above a threshold, in
  // float64, sixteen sums side by side, and how many they are; all of them above a negative threshold.
  void (*sum_magnitudes)(const float* weights, int64_t count, float threshold, double* sum, int64_t* kept);
  // scale where the magnitude is above the threshold, else 0, with the sign of the weight; the largest
  // magnitude.
  float (*write_ternary)(const float* weights, float* to, int64_t count, float threshold, float scale);
  // -1, 0 or 1 of each weight, and the largest magnitude.
  float (*write_signs)(const float* weights, int8_t* to, int64_t count);

  // Training: batch statistics, in float64, the same on every instruction set. What the channels of pixels
  // [pixel][channel] add to their sums and to those of their squares, pixel after pixel; and the sums of one
  // channel's pixels, sixteen side by side.
  void (*add_moments)(const float* pixels, int64_t count, int32_t channels, double* sums, double* squares);
  void (*plane_moments)(const float* plane, int64_t count, double* sum, double* squares);
  // Batch norm by rows; see training/batch_norm.h. Of pixels [pixel][channel], or, where `is_plane`, of the
  // pixels of one channel, whose rows are one number each. y = scale * (x - mean) + shift (+ plus), where y
  // may be x; what gradients, and their products with x - mean, add to the sums of channels, in float64, the
  // same on every instruction set; and (scale *) gradient + (shift + slope * x). Null: there is none.
  void (*normalise)(const float* x, const float* mean, const float* scale, const float* shift,
                    const float* plus, int64_t count, int32_t channels, bool is_plane, float* y);
  void (*add_row_sums)(const float* gradient, const float* x, const float* mean, int64_t count,
                       int32_t channels, bool is_plane, double* sums, double* products);
  void (*maps_gradient)(const float* gradient, const float* x, const float* scale, const float* shift,
                        const float* slope, int64_t count, int32_t channels, bool is_plane, float* to);

  // Winograd's convolution of 3x3, of channels in 16s; see training/winograd.h. `plane` is the distance of
  // two of the numbers of a tile. Spread: a tile with what is around it; a tile alone, for the gradient of
  // kernels; and `winograd_panel` kernels side by side, [tap][kernel]. Collect: to the pixels of a tile, of
  // which null ones are not written, and to kernels. Multiply: c[i][j] = (adds: c[i][j] +) the sum over k of
  // a[i][k] * b[k][j], for one panel of j.
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

// The names of the instruction sets that were compiled in and that this machine runs, the best last.
int available_kernels(const Kernels** tables, int room);

} // namespace hdlif
