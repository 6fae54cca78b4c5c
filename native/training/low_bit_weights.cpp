#include "low_bit_weights.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "training_pool.h"

namespace hdlif {
namespace {

constexpr float kThreshold = 0.7f;
// Weights summed by one thread.
constexpr int64_t kBlock = 1 << 16;

struct Sums {
  double kept = 0;
  int64_t count = 0;
};

template <typename Body> void in_blocks(int64_t count, int threads, Body body) {
  share_out(count, kBlock, threads,
            [&](int64_t first, int64_t end) { body(first / kBlock, first, end - first); });
}

Sums sum(const float* weights, int64_t count, float threshold, const Kernels& kernels, int threads) {
  std::vector<Sums> blocks(size_t(pieces_of(count, kBlock)));
  in_blocks(count, threads, [&](int64_t block, int64_t first, int64_t size) {
    Sums& found = blocks[size_t(block)];
    kernels.sum_magnitudes(weights + first, size, threshold, &found.kept, &found.count);
  });
  Sums found;
  for (const Sums& block : blocks) {
    found.kept += block.kept;
    found.count += block.count;
  }
  return found;
}

} // namespace

bool ternarize(const float* weights, int64_t count, float* to, const Kernels& kernels, int threads) {
  const float threshold = kThreshold * float(sum(weights, count, -1, kernels, threads).kept / double(count));
  const Sums kept = sum(weights, count, threshold, kernels, threads);
  const float scale = float(kept.kept / double(std::max<int64_t>(kept.count, 1)));
  std::atomic<bool> are_inside{true};
  in_blocks(count, threads, [&](int64_t, int64_t first, int64_t size) {
    if (!(kernels.write_ternary(weights + first, to + first, size, threshold, scale) < 1))
      are_inside.store(false, std::memory_order_relaxed);
  });
  return are_inside;
}

} // namespace hdlif
