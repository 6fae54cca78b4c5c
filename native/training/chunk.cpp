#include "chunk.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <stdexcept>

#include "training_pool.h"

namespace hdlif {
namespace {

// Minimum size of a part, in operations on entries: about ten microseconds.
constexpr int64_t kGrain = 1 << 17;
// Maximum number of parts of a chunk, and maximum number of their sums in total; each part has its own sums.
constexpr int64_t kParts = 16, kMostTotals = 1 << 20;

constexpr int arity_of(ChunkOperation operation) {
  switch (operation) {
  case ChunkOperation::kConstant:
    return 0;
  case ChunkOperation::kNegative:
  case ChunkOperation::kAbsolute:
  case ChunkOperation::kFloor:
  case ChunkOperation::kRelu:
    return 1;
  case ChunkOperation::kSelect:
    return 3;
  default:
    return 2;
  }
}

void require(bool holds, const char* message) {
  if (!holds)
    throw std::invalid_argument(message);
}

template <typename Real> ChunkKernel<Real> kernel_of(const Kernels& kernels);
template <> ChunkKernel<float> kernel_of<float>(const Kernels& kernels) {
  return kernels.chunk_of_floats;
}
template <> ChunkKernel<double> kernel_of<double>(const Kernels& kernels) {
  return kernels.chunk_of_doubles;
}

} // namespace

Chunk::Chunk(Parts parts) : parts_(std::move(parts)) {
  require(parts_.rows >= 0 && parts_.rows <= kMaxChunkRegisters, "rows must be in 0..1024");
  const size_t signals = parts_.streams.size() + parts_.after.size() + size_t(parts_.rows);
  require(signals + parts_.instructions.size() <= size_t(kMaxChunkRegisters),
          "registers: there are more than 1024");
  const int32_t first = int32_t(signals), all = first + int32_t(parts_.instructions.size());
  const auto is_encoding = [](StreamEncoding encoding) {
    return encoding >= StreamEncoding::kValues && encoding < StreamEncoding::kCount;
  };
  for (const Stream& stream : parts_.streams)
    require(is_encoding(stream.encoding) && stream.encoding != StreamEncoding::kCodes,
            "streams: unknown encoding, or codes, which can only be written");
  for (int32_t i = first; i < all; ++i) {
    ChunkInstruction& instruction = parts_.instructions[size_t(i - first)];
    require(instruction.operation >= ChunkOperation::kConstant &&
                instruction.operation < ChunkOperation::kCount,
            "instructions: unknown operation");
    for (int place = 0; place < 3; ++place) {
      int32_t& operand = instruction.operands[place];
      if (place >= arity_of(instruction.operation))
        operand = 0; // unused, but its register is looked up
      else
        require(operand >= 0 && operand < i, "instructions: a register is read before it is written");
    }
  }
  const auto is_register = [=](int32_t which) { return which >= 0 && which < all; };
  for (const Stream& result : parts_.results)
    require(is_encoding(result.encoding) && is_register(result.source),
            "results: unknown register or encoding");
  require(std::all_of(parts_.after.begin(), parts_.after.end(), is_register), "after: unknown register");
  require(std::all_of(parts_.summed.begin(), parts_.summed.end(), is_register), "summed: unknown register");
}

template <typename Real>
bool Chunk::run(const ChunkRun& run, const int64_t* sum_rows, Real* const* sums, const Kernels& kernels,
                int threads) const {
  const ChunkProgram program{parts_.streams.data(),
                             parts_.results.data(),
                             parts_.instructions.data(),
                             parts_.after.data(),
                             parts_.summed.data(),
                             streams(),
                             states(),
                             rows(),
                             int32_t(parts_.instructions.size()),
                             results(),
                             this->sums()};
  std::vector<int64_t> sizes;
  int64_t size = 0;
  for (int32_t i = 0; i < this->sums(); ++i) {
    sizes.push_back(sum_rows[i] * run.sum_columns[i].columns);
    size += sizes.back();
  }
  const int64_t blocks = (run.entries + kChunkBlock - 1) / kChunkBlock;
  const int64_t work = std::max<int64_t>(1, run.steps * kChunkBlock * int64_t(1 + program.instruction_count));
  const int64_t grain = std::max<int64_t>(1, kGrain / work);
  const int64_t most = std::max<int64_t>(1, std::min(kParts, kMostTotals / std::max<int64_t>(1, size)));
  const int64_t parts = std::max<int64_t>(1, std::min(most, blocks / grain));
  const int64_t length = (blocks + parts - 1) / parts;
  // Two blocks share a byte of bits if a step does not fill complete bytes.
  const bool shares_bytes =
      run.entries % 8 != 0 &&
      std::any_of(parts_.results.begin(), parts_.results.end(),
                  [](const Stream& result) { return result.encoding == StreamEncoding::kBits; });
  const int64_t parties = shares_bytes ? 1 : std::min<int64_t>(threads, parts);

  // A range of parts for each thread.
  const int64_t range = (parts + parties - 1) / parties;
  std::vector<double> totals(size_t(parts * size));
  const std::unique_ptr<Real[]> scratch(new Real[size_t(parties * chunk_scratch(program))]);
  std::vector<double*> of_sums(size_t(parts * this->sums()));
  for (int64_t part = 0; part < parts; ++part) {
    double* at = totals.data() + part * size;
    for (int32_t i = 0; i < this->sums(); at += sizes[size_t(i)], ++i)
      of_sums[size_t(part * this->sums() + i)] = at;
  }
  std::atomic<bool> are_codes{true};
  share_out(parts, range, int(parties), [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * length * kChunkBlock;
      if (first < run.entries &&
          !kernel_of<Real>(kernels)(program, run, first, std::min(first + length * kChunkBlock, run.entries),
                                    scratch.get() + begin / range * chunk_scratch(program),
                                    of_sums.data() + part * this->sums()))
        are_codes.store(false, std::memory_order_relaxed);
    }
  });
  const double* total = totals.data();
  for (int32_t i = 0; i < this->sums(); ++i)
    for (int64_t j = 0; j < sizes[size_t(i)]; ++j, ++total) {
      double sum = 0;
      for (int64_t part = 0; part < parts; ++part)
        sum += total[part * size];
      sums[i][j] = Real(sum);
    }
  return are_codes;
}

template bool Chunk::run(const ChunkRun&, const int64_t*, float* const*, const Kernels&, int) const;
template bool Chunk::run(const ChunkRun&, const int64_t*, double* const*, const Kernels&, int) const;

} // namespace hdlif
