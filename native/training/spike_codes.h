// Quantises surpluses to spike codes.
#pragma once

#include <cstdint>

namespace hdlif {

struct SpikeCodes {
  float inverse_step, offset, largest, step;
  uint8_t* codes; // min(floor(surplus * inverse_step + offset), largest)
  float* spikes;  // code * step, or null if not needed
  uint8_t* live;  // 1 where the surplus is above 0, or null if not needed
};

// Quantises `count` surpluses; returns false, with invalid outputs, if one is negative or NaN.
bool quantise_surpluses(const float* surplus, int64_t count, const SpikeCodes& to, int threads);

// Counts the nonzero codes.
int64_t count_events(const uint8_t* codes, int64_t count, int threads);

// Sums codes over adjacent windows; every sum is at most 255. Pixels beyond the last complete window are
// ignored. Maps are [image][height][width][channels].
struct CodeMaps {
  int64_t images, height, width, channels;
};
void pool_codes(const uint8_t* codes, const CodeMaps& maps, int64_t window_height, int64_t window_width,
                uint8_t* sums, int threads);

} // namespace hdlif
