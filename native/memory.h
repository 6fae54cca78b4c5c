// Aligned memory, and helpers that read it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

namespace hdlif {

// Allocates memory aligned to a cache line.
template <typename T> struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};
  LineAllocator() = default;
  template <typename U> LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* memory, size_t) { ::operator delete(memory, kLine); }
  bool operator==(const LineAllocator&) const { return true; }
  bool operator!=(const LineAllocator&) const { return false; }
};
template <typename T> using LineVector = std::vector<T, LineAllocator<T>>;

// New entries of such a vector are uninitialised, so the threads that fill it touch its pages first.
template <typename T> struct RawAllocator : LineAllocator<T> {
  template <typename U> struct rebind {
    using other = RawAllocator<U>;
  };
  RawAllocator() = default;
  template <typename U> RawAllocator(const RawAllocator<U>&) {}
  template <typename U> void construct(U* at) { ::new (static_cast<void*>(at)) U; }
  template <typename U, typename... Given> void construct(U* at, Given&&... given) {
    ::new (static_cast<void*>(at)) U(std::forward<Given>(given)...);
  }
};
template <typename T> using RawVector = std::vector<T, RawAllocator<T>>;

inline const float* floats(const uint8_t* memory) {
  return reinterpret_cast<const float*>(memory);
}
inline float* floats(uint8_t* memory) {
  return reinterpret_cast<float*>(memory);
}

// Writes x [rows][columns] to y [columns][rows].
template <typename T> void transpose(const T* x, T* y, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      y[c * rows + r] = x[r * columns + c];
}

// The number of pieces of this size; the last piece may be smaller.
constexpr int64_t pieces_of(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

// Calls each(p, end of p, c, end of c) on parts of at most about a million entries that cover [0, pixels) x
// [0, channels), and `between` after each part.
template <typename Each, typename Between>
void in_parts(int64_t pixels, int64_t channels, Each each, Between between) {
  constexpr int64_t kEntries = 1 << 20;
  const int64_t width = std::min(channels, kEntries), height = std::max<int64_t>(1, kEntries / width);
  for (int64_t p = 0; p < pixels; p += height)
    for (int64_t c = 0; c < channels; c += width) {
      each(p, std::min(p + height, pixels), c, std::min(c + width, channels));
      between();
    }
}

} // namespace hdlif
