// Inputs for what is run on files of any content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hdlif {

// Half zeros, or values far beyond what networks see, from a plain generator.
inline std::vector<float> drawn_input(size_t count, uint32_t seed, bool has_zeros, bool is_huge = false) {
  std::vector<float> x(count);
  uint32_t state = seed * 2654435761u + 1;
  for (float& entry : x) {
    state = state * 1664525u + 1013904223u;
    const float drawn = float(int32_t(state)) / float(1 << 30);
    entry = has_zeros && (state >> 8) % 2 ? 0.0f : is_huge ? drawn * 1e30f : drawn;
  }
  return x;
}

} // namespace hdlif
