// Memory that vectors are read from, and how what lies in it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace hdlif {

// Aligned to a cache line.
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

inline const float* floats(const uint8_t* memory) {
  return reinterpret_cast<const float*>(memory);
}
inline float* floats(uint8_t* memory) {
  return reinterpret_cast<float*>(memory);
}

// [rows][columns] to [columns][rows]
template <typename T> void transpose(const T* x, T* y, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      y[c * rows + r] = x[r * columns + c];
}

} // namespace hdlif
