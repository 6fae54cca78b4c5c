// Spikes as codes: what a quantiser makes of surpluses.
#pragma once

#include <cstdint>

namespace hdlif {

struct SpikeCodes {
  float inverse_step, offset, largest, step;
  uint8_t* codes; // min(floor(surplus * inverse_step + offset), largest)
  float* spikes;  // code * step; null: not asked for
  uint8_t* live;  // 1 where the surplus is above 0; null: not asked for
};

// Of `count` surpluses; false where one is below 0 or no number, and what was written is of no use.
bool quantise_surpluses(const float* surplus, int64_t count, const SpikeCodes& to, int threads);

// How many codes are not 0.
int64_t count_events(const uint8_t* codes, int64_t count, int threads);

// The sums of codes, each of at most 255, over windows that lie side by side; what is left over at the end of
// a map is left out. Maps are [image][height][width][channels].
struct CodeMaps {
  int64_t images, height, width, channels;
};
void pool_codes(const uint8_t* codes, const CodeMaps& maps, int64_t window_height, int64_t window_width,
                uint8_t* sums, int threads);

} // namespace hdlif
