// A program that runs once at each step of a chunk, forwards or backwards: what trains a neuron's equation.
//
// Its registers are, in this order, the streams, the states, the rows, and one for each instruction. A stream
// has entries of its own at each step; a state is what the step before has made of it; a row is shared by the
// entries of a column. Results are streams too, the states behind the last step, and sums over the entries of
// a column. Everything that lies in memory is given by its address at each step, so that what is the same at
// all of them, or lies in another place at the first one, is no case of its own.
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

// How the entries of a stream are stored: as they are computed, as truth values, eight a byte from its lowest
// bit, as whole numbers in -128..127, or as the whole part of numbers in 0..255. Those alone are codes;
// of any other a run says that there was one.
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

// Addresses are those of the first entry; of bits, eight times the byte's and the bit in it. 0 stands for
// zeros where it is read, and for nowhere where it is written. A stream that lies otherwise at most steps has
// the negated address where it lies as it is computed.
struct ChunkRun {
  int64_t steps, entries;
  const int64_t *streams, *results; // [stream][step]
  const int64_t* rows;              // [row][step]
  const Columns* row_columns;
  const int64_t *before, *after; // [state]
  const int64_t* sum_rows;       // [sum][step]: the row of its sums that a step is added to
  const Columns* sum_columns;
};

constexpr int32_t kMaxChunkRegisters = 1024;
// Entries that a program computes at once, so its registers stay in the cache; a multiple of eight.
constexpr int32_t kChunkBlock = 256;

// Computes all steps of entries begin <= i < end. `scratch` has room for chunk_scratch() numbers. Sums are
// added to `sums`, [row][column] for each sum. Returns whether all codes are in 0..255.
template <typename Real>
using ChunkKernel = bool (*)(const ChunkProgram& program, const ChunkRun& run, int64_t begin, int64_t end,
                             Real* scratch, double* const* sums);

inline int64_t chunk_scratch(const ChunkProgram& program) {
  // registers, the states behind the step, the sums of several steps, zeros
  return int64_t(kChunkBlock) * (program.registers() + 2 * program.state_count + program.sum_count + 1);
}

} // namespace hdlif
