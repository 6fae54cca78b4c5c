// Transposes matrices, in blocks that fit in registers.
#pragma once

#include <cstdint>
#include <cstring>

namespace hdlif {

// to[column * to_stride + row] = rows[row][column] * factor, row < count, column < width.
inline void transpose(const float* const* rows, int64_t count, int64_t width, float factor, float* to,
                      int64_t to_stride) {
  typedef float Four __attribute__((vector_size(16)));
  const auto load = [](const float* from) {
    Four found;
    std::memcpy(&found, from, sizeof(found));
    return found;
  };
  int64_t row = 0;
  for (; row + 4 <= count; row += 4) {
    int64_t column = 0;
    for (; column + 4 <= width; column += 4) {
      const Four a = load(rows[row] + column) * factor, b = load(rows[row + 1] + column) * factor,
                 c = load(rows[row + 2] + column) * factor, d = load(rows[row + 3] + column) * factor;
      const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                 AB = __builtin_shufflevector(a, b, 2, 6, 3, 7),
                 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5),
                 CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      const Four columns[4] = {
          __builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
          __builtin_shufflevector(AB, CD, 0, 1, 4, 5), __builtin_shufflevector(AB, CD, 2, 3, 6, 7)};
      for (int64_t i = 0; i < 4; ++i)
        std::memcpy(to + (column + i) * to_stride + row, &columns[i], sizeof(Four));
    }
    for (; column < width; ++column)
      for (int64_t i = row; i < row + 4; ++i)
        to[column * to_stride + i] = rows[i][column] * factor;
  }
  for (; row < count; ++row)
    for (int64_t column = 0; column < width; ++column)
      to[column * to_stride + row] = rows[row][column] * factor;
}

// As `transpose` below, for 16 rows.
inline void transpose_16(const int8_t* from, int64_t stride, int64_t width, int8_t offset, uint8_t* to,
                         int64_t to_stride) {
  typedef uint8_t Sixteen __attribute__((vector_size(16)));
  int64_t column = 0;
  for (; column + 16 <= width; column += 16) {
    Sixteen rows[16], other[16];
    for (int64_t row = 0; row < 16; ++row)
      std::memcpy(&rows[row], from + row * stride + column, sizeof(Sixteen));
    // Interleaving the two halves of the rows four times transposes the block.
    const auto join = [](const Sixteen* of, Sixteen* into) {
      for (int i = 0; i < 8; ++i) {
        into[2 * i] =
            __builtin_shufflevector(of[i], of[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        into[2 * i + 1] = __builtin_shufflevector(of[i], of[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13,
                                                  29, 14, 30, 15, 31);
      }
    };
    join(rows, other), join(other, rows), join(rows, other), join(other, rows);
    for (int64_t i = 0; i < 16; ++i) {
      const Sixteen found = rows[i] + uint8_t(offset);
      std::memcpy(to + (column + i) * to_stride, &found, sizeof(Sixteen));
    }
  }
  for (; column < width; ++column)
    for (int64_t row = 0; row < 16; ++row)
      to[column * to_stride + row] = uint8_t(from[row * stride + column] + offset);
}

// to[column * to_stride + row] = from[row * stride + column] + offset, row < count, column < width.
inline void transpose(const int8_t* from, int64_t stride, int64_t count, int64_t width, int8_t offset,
                      uint8_t* to, int64_t to_stride) {
  int64_t row = 0;
  for (; row + 16 <= count; row += 16)
    transpose_16(from + row * stride, stride, width, offset, to + row, to_stride);
  for (; row < count; ++row)
    for (int64_t column = 0; column < width; ++column)
      to[column * to_stride + row] = uint8_t(from[row * stride + column] + offset);
}

} // namespace hdlif
