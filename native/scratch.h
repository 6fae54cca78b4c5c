// Memory of a thread that later calls reuse, so no new pages are needed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memory.h"

namespace hdlif {

// Takes parts of a thread's memory, each aligned to a cache line and valid while this object lives. The
// memory is uninitialised. Only one object may exist per thread.
class Scratch {
public:
  explicit Scratch(size_t bytes) {
    if (room().size() * sizeof(Line) < bytes) {
      room() = LineVector<Line>(); // frees the old memory first
      room().resize(bytes / sizeof(Line) + 1);
    }
    next_ = reinterpret_cast<uint8_t*>(room().data());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T> static size_t bytes(int64_t count) {
    return (size_t(count) * sizeof(T) + sizeof(Line) - 1) / sizeof(Line) * sizeof(Line);
  }
  template <typename T> T* take(int64_t count) {
    T* const found = reinterpret_cast<T*>(next_);
    next_ += bytes<T>(count);
    return found;
  }

private:
  struct Line {
    Line() {} // leaves the bytes uninitialised
    uint8_t bytes[64];
  };

  static LineVector<Line>& room() {
    thread_local LineVector<Line> kept;
    return kept;
  }

  uint8_t* next_;
};

} // namespace hdlif
