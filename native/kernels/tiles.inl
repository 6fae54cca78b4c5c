// The tiles of a thread, included by each file that uses them.
#pragma once

#include <immintrin.h>

#include "kernels.h"

namespace hdlif {
namespace {

struct alignas(64) Configuration {
  uint8_t palette = 0, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Configures eight tiles of 16 rows of 64 bytes while it exists, and then restores any previous configuration
// of the thread's tiles.
class Tiles {
public:
  Tiles() {
    _tile_storeconfig(&before_);
    Configuration ours;
    ours.palette = 1;
    for (int i = 0; i < 8; ++i) {
      ours.row_bytes[i] = kTileDepth;
      ours.rows[i] = kTileRows;
    }
    _tile_loadconfig(&ours);
  }
  ~Tiles() {
    if (before_.palette == 0)
      _tile_release();
    else
      _tile_loadconfig(&before_);
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

private:
  Configuration before_;
};

} // namespace
} // namespace hdlif
