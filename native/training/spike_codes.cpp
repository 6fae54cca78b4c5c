#include "spike_codes.h"

#include <algorithm>
#include <atomic>

#include "training_pool.h"

namespace hdlif {
namespace {

// Entries that a thread processes together.
constexpr int64_t kPiece = 1 << 16;
// Entries between two checks that all were surpluses.
constexpr int64_t kBlock = 1024;

// Each choice has its own loop without branches, so it is vectorised. The cast truncates, which is the floor
// because nothing is below 0.
template <bool kSpikes, bool kLive>
bool quantise_block(const float* __restrict surplus, int64_t count, const SpikeCodes& to,
                    uint8_t* __restrict codes, float* __restrict spikes, uint8_t* __restrict live) {
  int32_t is_sound = 1;
  for (int64_t i = 0; i < count; ++i) {
    const float x = surplus[i], level = x * to.inverse_step + to.offset;
    const int32_t code = int32_t(level < to.largest ? level : to.largest);
    is_sound &= int32_t(x >= 0);
    codes[i] = uint8_t(code);
    if (kSpikes)
      spikes[i] = float(code) * to.step;
    if (kLive)
      live[i] = uint8_t(x > 0);
  }
  return is_sound != 0;
}

} // namespace

bool quantise_surpluses(const float* surplus, int64_t count, const SpikeCodes& to, int threads) {
  const auto of = to.spikes != nullptr
                      ? (to.live != nullptr ? quantise_block<true, true> : quantise_block<true, false>)
                      : (to.live != nullptr ? quantise_block<false, true> : quantise_block<false, false>);
  std::atomic<bool> is_sound{true};
  share_out(count, kPiece, threads, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end && is_sound.load(std::memory_order_relaxed); first += kBlock)
      if (!of(surplus + first, std::min(kBlock, end - first), to, to.codes + first,
              to.spikes == nullptr ? nullptr : to.spikes + first,
              to.live == nullptr ? nullptr : to.live + first))
        is_sound.store(false, std::memory_order_relaxed);
  });
  return is_sound;
}

int64_t count_events(const uint8_t* codes, int64_t count, int threads) {
  std::atomic<int64_t> events{0};
  share_out(count, kPiece, threads, [&](int64_t begin, int64_t end) {
    int64_t found = 0;
    for (int64_t i = begin; i < end;) {
      uint8_t some = 0; // counts at most 255 codes, so it fits, and a register holds many
      for (const int64_t stop = std::min<int64_t>(i + 255, end); i < stop; ++i)
        some = uint8_t(some + (codes[i] != 0));
      found += some;
    }
    events.fetch_add(found, std::memory_order_relaxed);
  });
  return events;
}

void pool_codes(const uint8_t* codes, const CodeMaps& maps, int64_t window_height, int64_t window_width,
                uint8_t* sums, int threads) {
  const int64_t height = maps.height / window_height, width = maps.width / window_width,
                channels = maps.channels;
  share_work(maps.images * height, maps.width * window_height * channels, threads, [&](int64_t row) {
    const int64_t top = row / height * maps.height + row % height * window_height;
    uint8_t* const to = sums + row * width * channels;
    std::fill_n(to, width * channels, uint8_t(0));
    for (int64_t y = 0; y < window_height; ++y)
      for (int64_t x = 0; x < width * window_width; ++x) {
        const uint8_t* __restrict from = codes + ((top + y) * maps.width + x) * channels;
        uint8_t* __restrict sum = to + x / window_width * channels;
        for (int64_t c = 0; c < channels; ++c)
          sum[c] = uint8_t(sum[c] + from[c]);
      }
  });
}

} // namespace hdlif
