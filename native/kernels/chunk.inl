// Runs a program at each step of a chunk; see chunk.h.

namespace {

template <typename Real> struct Smaller {
  Real operator()(Real a, Real b) const { return a < b ? a : b <= a ? b : a + b; }
};
template <typename Real> struct Larger {
  Real operator()(Real a, Real b) const { return a > b ? a : b >= a ? b : a + b; }
};

template <typename Real, typename Body>
void map(Real* __restrict out, const Real* a, int32_t count, Body body) {
  for (int32_t i = 0; i < count; ++i)
    out[i] = body(a[i]);
}

template <typename Real, typename Body>
void map(Real* __restrict out, const Real* a, const Real* b, int32_t count, Body body) {
  for (int32_t i = 0; i < count; ++i)
    out[i] = body(a[i], b[i]);
}

void floor_all(float* __restrict out, const float* a, int32_t count) {
  for_lanes(out, a, count, [](auto x) { return floors(x); });
}
void floor_all(double* __restrict out, const double* a, int32_t count) {
  map(out, a, count, [](double x) { return __builtin_floor(x); });
}

// Executes one instruction on a block.
template <typename Real>
void execute(const ChunkInstruction& instruction, const Real* const* registers, Real* __restrict out,
             int32_t count) {
  const Real* a = registers[instruction.operands[0]];
  const Real* b = registers[instruction.operands[1]];
  switch (instruction.operation) {
  case ChunkOperation::kAdd:
    return map(out, a, b, count, [](Real x, Real y) { return x + y; });
  case ChunkOperation::kSubtract:
    return map(out, a, b, count, [](Real x, Real y) { return x - y; });
  case ChunkOperation::kMultiply:
    return map(out, a, b, count, [](Real x, Real y) { return x * y; });
  case ChunkOperation::kDivide:
    return map(out, a, b, count, [](Real x, Real y) { return x / y; });
  case ChunkOperation::kNegative:
    return map(out, a, count, [](Real x) { return -x; });
  case ChunkOperation::kAbsolute:
    return map(out, a, count, [](Real x) { return x < 0 ? -x : x + Real(0); });
  case ChunkOperation::kFloor:
    return floor_all(out, a, count);
  case ChunkOperation::kRelu: // NaN stays NaN
    return map(out, a, count, [](Real x) { return x <= 0 ? Real(0) : x; });
  case ChunkOperation::kSmaller:
    return map(out, a, b, count, Smaller<Real>());
  case ChunkOperation::kLarger:
    return map(out, a, b, count, Larger<Real>());
  case ChunkOperation::kSmallerNumber:
    return map(out, a, b, count, [](Real x, Real y) { return x <= y || y != y ? x : y; });
  case ChunkOperation::kLargerNumber:
    return map(out, a, b, count, [](Real x, Real y) { return x >= y || y != y ? x : y; });
  case ChunkOperation::kGreater:
    return map(out, a, b, count, [](Real x, Real y) { return x > y ? Real(1) : Real(0); });
  case ChunkOperation::kGreaterEqual:
    return map(out, a, b, count, [](Real x, Real y) { return x >= y ? Real(1) : Real(0); });
  case ChunkOperation::kSelect: {
    const Real* c = registers[instruction.operands[2]];
    for (int32_t i = 0; i < count; ++i)
      out[i] = a[i] != 0 ? b[i] : c[i];
    return;
  }
  case ChunkOperation::kConstant:
  case ChunkOperation::kCount:
    return;
  }
}

// The number of bits read and written together; they fill complete bytes.
constexpr int32_t kLanesOfBits = kFloats < 8 ? 8 : kFloats;

template <typename Real> void copy(const Real* from, Real* __restrict to, int32_t count) {
  for (int32_t i = 0; i < count; ++i)
    to[i] = from[i];
}

template <typename Real> void add_to(const Real* from, Real* __restrict to, int32_t count) {
  for (int32_t i = 0; i < count; ++i)
    to[i] += from[i];
}

// Reads the bits that fill registers, in complete bytes; returns their number.
int32_t read_lanes(const uint8_t* bytes, float* __restrict to, int32_t count) {
  int32_t i = 0;
  for (; i + kLanesOfBits <= count; i += kLanesOfBits) {
    uint32_t bits = bytes[i >> 3];
    if (kFloats == 16)
      bits |= uint32_t(bytes[(i >> 3) + 1]) << 8;
    for (int32_t j = 0; j < kLanesOfBits; j += kFloats)
      set(to + i + j, truths(bits >> j));
  }
  return i;
}
int32_t read_lanes(const uint8_t* bytes, double* __restrict to, int32_t count) {
  for (int32_t i = 0; i < count / 8 * 8; ++i)
    to[i] = double((bytes[i >> 3] >> (i & 7)) & 1);
  return count / 8 * 8;
}
int32_t write_lanes(const float* from, uint8_t* __restrict bytes, int32_t count) {
  int32_t i = 0;
  for (; i + kLanesOfBits <= count; i += kLanesOfBits) {
    uint32_t bits = 0;
    for (int32_t j = 0; j < kLanesOfBits; j += kFloats)
      bits |= bits_of(at(from + i + j)) << j;
    bytes[i >> 3] = uint8_t(bits);
    if (kFloats == 16)
      bytes[(i >> 3) + 1] = uint8_t(bits >> 8);
  }
  return i;
}
int32_t write_lanes(const double* from, uint8_t* __restrict bytes, int32_t count) {
  for (int32_t i = 0; i < count / 8 * 8; i += 8) {
    uint32_t bits = 0;
    for (int32_t j = 0; j < 8; ++j)
      bits |= uint32_t(from[i + j] != 0) << j;
    bytes[i >> 3] = uint8_t(bits);
  }
  return count / 8 * 8;
}

template <typename Real> void read_bits(int64_t address, Real* to, int32_t count) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(address >> 3);
  const int32_t first = int32_t(address & 7);
  for (int32_t i = first == 0 ? read_lanes(bytes, to, count) : 0; i < count; ++i)
    to[i] = Real((bytes[(first + i) >> 3] >> ((first + i) & 7)) & 1);
}

template <typename Real> void write_bits(const Real* from, int64_t address, int32_t count) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(address >> 3);
  const int32_t first = int32_t(address & 7);
  for (int32_t i = first == 0 ? write_lanes(from, bytes, count) : 0; i < count; ++i) {
    uint8_t& byte = bytes[(first + i) >> 3];
    const int32_t place = (first + i) & 7;
    byte = uint8_t((byte & ~(1u << place)) | uint32_t(from[i] != 0) << place);
  }
}

// Calls run(column, from, count) for runs of entries with a single column, or with columns from `column` on.
template <typename Run> void for_columns(Columns columns, int64_t begin, int32_t count, Run run) {
  int64_t column = begin / columns.inner % columns.columns;
  int64_t rest = columns.inner == 1 ? columns.columns - column : columns.inner - begin % columns.inner;
  for (int32_t i = 0; i < count;) {
    const int32_t length = rest < count - i ? int32_t(rest) : count - i;
    run(column, i, length);
    i += length;
    column = columns.inner == 1 || column + 1 == columns.columns ? 0 : column + 1;
    rest = columns.inner == 1 ? columns.columns : columns.inner;
  }
}

// Repeats a row for every entry of a block.
template <typename Real>
void spread(const Real* row, Columns columns, int64_t begin, int32_t count, Real* __restrict to) {
  if (columns.columns == 1) {
    for (int32_t i = 0; i < count; ++i)
      to[i] = row[0];
  } else if (columns.inner == 1) {
    for_columns(columns, begin, count,
                [=](int64_t column, int32_t from, int32_t length) { copy(row + column, to + from, length); });
  } else {
    for_columns(columns, begin, count, [=](int64_t column, int32_t from, int32_t length) {
      for (int32_t i = from; i < from + length; ++i)
        to[i] = row[column];
    });
  }
}

template <typename Real> double sum_of(const Real* from, int32_t count) {
  constexpr int32_t kParts = 8;
  double parts[kParts] = {};
  int32_t i = 0;
  for (; i + kParts <= count; i += kParts)
    for (int32_t j = 0; j < kParts; ++j)
      parts[j] += from[i + j];
  double total = 0;
  for (; i < count; ++i)
    total += from[i];
  for (double part : parts)
    total += part;
  return total;
}

// Adds a block's entries to the sums of their columns.
template <typename Real>
void gather(const Real* from, Columns columns, int64_t begin, int32_t count, double* sums) {
  if (columns.columns == 1)
    sums[0] += sum_of(from, count);
  else if (columns.inner == 1)
    for_columns(columns, begin, count, [=](int64_t column, int32_t first, int32_t length) {
      double* __restrict to = sums + column;
      for (int32_t i = 0; i < length; ++i)
        to[i] += from[first + i];
    });
  else
    for_columns(columns, begin, count, [=](int64_t column, int32_t first, int32_t length) {
      sums[column] += sum_of(from + first, length);
    });
}

// Returns whether all numbers are in 0..255; writes 0 for others.
template <typename Real> bool write_codes(const Real* from, uint8_t* __restrict to, int32_t count) {
  bool are_codes = true;
  for (int32_t i = 0; i < count; ++i) {
    const bool is_code = from[i] >= 0 && from[i] < 256;
    are_codes &= is_code;
    to[i] = uint8_t(is_code ? from[i] : Real(0));
  }
  return are_codes;
}
bool write_codes(const float* from, uint8_t* __restrict to, int32_t count) {
  const Floats zero{}, most = zero + 256.0f;
  Integers others{};
  int32_t i = 0;
  for (; i + kFloats <= count; i += kFloats) {
    const Floats x = at(from + i);
    const Integers is_code = (x >= zero) & (x < most);
    others |= ~is_code;
    set_codes(to + i, __builtin_convertvector(is_code ? x : zero, Integers));
  }
  bool are_codes = write_codes<float>(from + i, to + i, count - i);
  for (int lane = 0; lane < kFloats; ++lane)
    are_codes &= others[lane] == 0;
  return are_codes;
}

// Prefetches the data of the next block while this one is computed.
inline void fetch(const void* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64)
    __builtin_prefetch(static_cast<const char*>(from) + i);
}

template <typename Real>
bool chunk(const ChunkProgram& program, const ChunkRun& run, int64_t begin, int64_t end, Real* scratch,
           double* const* sums) {
  constexpr int32_t kBlock = kChunkBlock;
  const int32_t states = program.state_count, first_row = program.first_row(), first = program.first();
  const Real* at_register[kMaxChunkRegisters];
  const auto own = [&](int32_t which) { return scratch + int64_t(which) * kBlock; };
  Real* const after = own(program.registers());
  Real* const gathered = own(program.registers() + 2 * states);
  Real* const zeros = own(program.registers() + 2 * states + program.sum_count);
  for (int32_t i = 0; i < kBlock; ++i)
    zeros[i] = 0;
  // the address from which each row's register was filled, valid for blocks with the same columns
  int64_t spread_from[kMaxChunkRegisters];
  for (int32_t i = 0; i < program.row_count; ++i)
    spread_from[i] = 0;
  for (int32_t i = 0; i < program.instruction_count; ++i)
    if (program.instructions[i].operation == ChunkOperation::kConstant) {
      Real* to = own(first + i);
      for (int32_t j = 0; j < kBlock; ++j)
        to[j] = Real(program.instructions[i].value);
      at_register[first + i] = to;
    }
  // for each register, the first result with its values, which its instruction writes directly; or -1
  int32_t written_to[kMaxChunkRegisters];
  for (int32_t i = 0; i < program.registers(); ++i)
    written_to[i] = -1;
  for (int32_t i = program.result_count; i-- > 0;)
    if (program.results[i].encoding == StreamEncoding::kValues)
      written_to[program.results[i].source] = i;

  bool are_codes = true;
  for (int64_t from = begin; from < end; from += kBlock) {
    const int32_t count = end - from < kBlock ? int32_t(end - from) : kBlock;
    for (int32_t s = 0; s < states; ++s) {
      const Real* before = reinterpret_cast<const Real*>(run.before[s]);
      at_register[program.stream_count + s] = before == nullptr ? zeros : before + from;
      if (before != nullptr && end - from > 2 * kBlock)
        fetch(before + from + kBlock, kBlock * sizeof(Real));
    }
    for (int64_t k = 0; k < run.steps; ++k) {
      for (int32_t i = 0; i < program.stream_count; ++i) {
        const int64_t address = run.streams[i * run.steps + k];
        const StreamEncoding encoding = program.streams[i].encoding;
        if (address == 0) {
          at_register[i] = zeros;
        } else if (address < 0 || encoding == StreamEncoding::kValues) {
          at_register[i] = reinterpret_cast<const Real*>(address < 0 ? -address : address) + from;
          if (end - from > 2 * kBlock)
            fetch(at_register[i] + kBlock, kBlock * sizeof(Real));
        } else {
          at_register[i] = own(i);
          if (encoding == StreamEncoding::kBits)
            read_bits(address + from, own(i), count);
          else
            for (int32_t j = 0; j < count; ++j)
              own(i)[j] = Real(reinterpret_cast<const int8_t*>(address)[from + j]);
        }
      }
      for (int32_t i = 0; i < program.row_count; ++i) {
        const int64_t address = run.rows[i * run.steps + k];
        const Columns columns = run.row_columns[i];
        const Real* const row = reinterpret_cast<const Real*>(address);
        const bool is_alike = columns.inner == 1 && kBlock % columns.columns == 0;
        at_register[first_row + i] = own(first_row + i);
        if (columns.inner == 1 && columns.columns % kBlock == 0) {
          at_register[first_row + i] = row + from % columns.columns;
        } else if (is_alike ? address != spread_from[i]
                            : k == 0 || address != run.rows[i * run.steps + k - 1]) {
          spread(row, columns, from, is_alike ? kBlock : count, own(first_row + i));
          spread_from[i] = address;
        }
      }
      for (int32_t i = 0; i < program.instruction_count; ++i)
        if (program.instructions[i].operation != ChunkOperation::kConstant) {
          const int32_t result = written_to[first + i];
          const int64_t address = result < 0 ? 0 : run.results[result * run.steps + k];
          Real* to = address == 0 ? own(first + i) : reinterpret_cast<Real*>(address) + from;
          execute(program.instructions[i], at_register, to, count);
          at_register[first + i] = to;
        }
      for (int32_t i = 0; i < program.result_count; ++i) {
        const int64_t address = run.results[i * run.steps + k];
        const int32_t source = program.results[i].source;
        const Real* values = at_register[source];
        if (address == 0)
          continue;
        switch (program.results[i].encoding) {
        case StreamEncoding::kBits:
          write_bits(values, address + from, count);
          break;
        case StreamEncoding::kBytes:
          for (int32_t j = 0; j < count; ++j)
            reinterpret_cast<int8_t*>(address)[from + j] = int8_t(int32_t(values[j]));
          break;
        case StreamEncoding::kCodes:
          are_codes &= write_codes(values, reinterpret_cast<uint8_t*>(address) + from, count);
          break;
        default:
          if (values != reinterpret_cast<Real*>(address) + from)
            copy(values, reinterpret_cast<Real*>(address) + from, count);
        }
      }
      for (int32_t i = 0; i < program.sum_count; ++i) {
        const int64_t* rows = run.sum_rows + i * run.steps;
        const Real* values = at_register[program.summed[i]];
        const bool opens = k == 0 || rows[k - 1] != rows[k],
                   closes = k + 1 == run.steps || rows[k + 1] != rows[k];
        Real* total = gathered + int64_t(i) * kBlock;
        if (opens && !closes)
          copy(values, total, count);
        else if (!opens)
          add_to(values, total, count);
        if (closes)
          gather(opens ? values : total, run.sum_columns[i], from, count,
                 sums[i] + rows[k] * run.sum_columns[i].columns);
      }
      if (k + 1 == run.steps)
        break;
      // two alternating buffers, because a state may take the previous value of another state
      for (int32_t s = 0; s < states; ++s)
        copy(at_register[program.after[s]], after + (2 * s + (k & 1)) * kBlock, count);
      for (int32_t s = 0; s < states; ++s)
        at_register[program.stream_count + s] = after + (2 * s + (k & 1)) * kBlock;
    }
    for (int32_t s = 0; s < states; ++s)
      if (run.after[s] != 0)
        copy(at_register[program.after[s]], reinterpret_cast<Real*>(run.after[s]) + from, count);
  }
  return are_codes;
}

} // namespace
