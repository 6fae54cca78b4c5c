// Memory of a thread that is used again by the next call, so that no pages are asked for anew.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memory.h"

namespace hdlif {

// Parts of what a thread keeps, each aligned to a cache line, as long as this lives; what lies there is what
// was left. One at a time for each thread.
class Scratch {
public:
  explicit Scratch(size_t bytes) {
    if (room().size() * sizeof(Line) < bytes) {
      room() = LineVector<Line>(); // gives its memory back first
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
    Line() {} // is not written to
    uint8_t bytes[64];
  };

  static LineVector<Line>& room() {
    thread_local LineVector<Line> kept;
    return kept;
  }

  uint8_t* next_;
};

} // namespace hdlif
