// A program over a chunk of steps, checked once and run by all threads; see kernels/chunk.h.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels/chunk.h"
#include "../kernels/kernels.h"

namespace hdlif {

class Chunk {
public:
  struct Parts {
    std::vector<Stream> streams, results;
    std::vector<ChunkInstruction> instructions;
    std::vector<int32_t> after, summed;
    int32_t rows = 0;
  };

  // Throws std::invalid_argument if a register is read before it is written, or if there are too many.
  explicit Chunk(Parts parts);

  int32_t streams() const { return int32_t(parts_.streams.size()); }
  int32_t results() const { return int32_t(parts_.results.size()); }
  int32_t states() const { return int32_t(parts_.after.size()); }
  int32_t rows() const { return parts_.rows; }
  int32_t sums() const { return int32_t(parts_.summed.size()); }

  // Writes the sums to `sums`, [row][column], with `sum_rows` rows each. They do not depend on `threads`.
  // Returns whether all codes are in 0..255.
  template <typename Real>
  bool run(const ChunkRun& run, const int64_t* sum_rows, Real* const* sums, const Kernels& kernels,
           int threads) const;

private:
  Parts parts_;
};

} // namespace hdlif
