// A program that trains a neuron's equation. It runs once at each step of a chunk, forwards or backwards.
//
// Its registers are, in order, the streams, the states, the rows, and one per instruction. A stream has
// separate entries at each step, a state has its value after the previous step, and the entries of a column
// share a row. The results are streams, the states after the last step, and sums over the entries of a
// column. All memory is addressed separately at each step, so values that are constant, or stored elsewhere
// at the first step, need no special case.
#pragma once

#include <cstdint>

namespace hdlif {

// In the order of hdlif.graph.equations.chunk_program.OPERATIONS. Comparisons give 1 or 0. If an operand is
// NaN, `smaller` and `larger` give NaN, and `smaller_number` and `larger_number` give the other operand.
// `select` gives the second operand if the first is not 0, else the third.
enum class ChunkOperation : int32_t {
  kConstant,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kNegative,
  kAbsolute,
  kFloor,
  kRelu,
  kSmaller,
  kLarger,
  kSmallerNumber,
  kLargerNumber,
  kGreater,
  kGreaterEqual,
  kSelect,
  kCount
};

struct ChunkInstruction {
  ChunkOperation operation;
  int32_t operands[3];
  double value; // value of a constant
};

// The encoding of a stream's entries: as computed; as truth values, eight per byte from its lowest bit; as
// whole numbers in -128..127; or as codes, the integer parts of numbers in 0..255. A run reports whether a
// number for a code was outside this range.
enum class StreamEncoding : int32_t { kValues, kBits, kBytes, kCodes, kCount };

struct Stream {
  int32_t source; // the register of a result
  StreamEncoding encoding;
};

struct ChunkProgram {
  const Stream *streams, *results;
  const ChunkInstruction* instructions;
  const int32_t *after, *summed; // registers: the new value of each state, and the values to sum
  int32_t stream_count, state_count, row_count, instruction_count, result_count, sum_count;

  int32_t first_row() const { return stream_count + state_count; }
  int32_t first() const { return first_row() + row_count; } // the register of the first instruction
  int32_t registers() const { return first() + instruction_count; }
};

// Entry i is in column (i / inner) % columns.
struct Columns {
  int64_t columns, inner;
};

// Addresses of the first entries; for bits, eight times the byte's address plus the bit's index. Address 0
// reads zeros, and discards what is written. A negated address marks a step at which an otherwise encoded
// stream is stored as computed.
struct ChunkRun {
  int64_t steps, entries;
  const int64_t *streams, *results; // [stream][step]
  const int64_t* rows;              // [row][step]
  const Columns* row_columns;
  const int64_t *before, *after; // [state]
  const int64_t* sum_rows;       // [sum][step]: the row of its sums to which a step is added
  const Columns* sum_columns;
};

constexpr int32_t kMaxChunkRegisters = 1024;
// The number of entries in a block. The registers of a block stay in the cache; a multiple of eight.
constexpr int32_t kChunkBlock = 256;

// Computes all steps of entries begin <= i < end. `scratch` has room for chunk_scratch() numbers. Sums are
// added to `sums`, [row][column] for each sum. Returns whether all codes are in 0..255.
template <typename Real>
using ChunkKernel = bool (*)(const ChunkProgram& program, const ChunkRun& run, int64_t begin, int64_t end,
                             Real* scratch, double* const* sums);

inline int64_t chunk_scratch(const ChunkProgram& program) {
  // registers, the states after the step, the sums of several steps, zeros
  return int64_t(kChunkBlock) * (program.registers() + 2 * program.state_count + program.sum_count + 1);
}

} // namespace hdlif
