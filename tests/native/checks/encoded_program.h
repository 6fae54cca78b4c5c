// A program and how to run it, in one string of bytes: what the fuzzer mutates and the corpus holds.
//
// Little endian: steps, batch, mode, t (a byte each); the number of words (uint16), scalars and buffers (a
// byte each); the words and scalars; of each buffer, its bytes (uint16) and then these. A string that ends
// early has zeros instead, or empty buffers. `write_corpus.py` writes the form.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "program.h"

namespace hdlif {

// Bits of `mode`.
constexpr uint8_t kIsStatic = 1, kIsHuge = 2, kHasZeros = 4;
constexpr int kTableShift = 4; // the upper half: which instruction set

struct EncodedProgram {
  uint8_t steps = 1, batch = 1, mode = 0, t = 0;
  std::vector<int32_t> words;
  std::vector<float> scalars;
  std::vector<std::vector<uint8_t>> buffers;

  static EncodedProgram decode(const uint8_t* data, size_t size) {
    const uint8_t *at = data, *end = data + size;
    const auto take = [&](void* to, size_t bytes) {
      const size_t there = std::min(bytes, size_t(end - at));
      std::memset(to, 0, bytes);
      if (there > 0)
        std::memcpy(to, at, there);
      at += there;
    };
    EncodedProgram p;
    uint16_t words = 0;
    uint8_t scalars = 0, buffers = 0;
    for (uint8_t* field : {&p.steps, &p.batch, &p.mode, &p.t})
      take(field, 1);
    take(&words, 2);
    take(&scalars, 1);
    take(&buffers, 1);
    p.words.resize(std::min<size_t>(words, size_t(end - at) / 4));
    for (int32_t& word : p.words)
      take(&word, 4);
    p.scalars.resize(scalars);
    for (float& scalar : p.scalars)
      take(&scalar, 4);
    p.buffers.resize(buffers);
    for (std::vector<uint8_t>& buffer : p.buffers) {
      uint16_t bytes = 0;
      take(&bytes, 2);
      buffer.resize(std::min<size_t>(bytes, size_t(end - at)));
      if (!buffer.empty())
        take(buffer.data(), buffer.size());
    }
    return p;
  }

  std::string encode() const {
    std::string bytes;
    const auto put = [&](const auto& value) {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    };
    put(steps), put(batch), put(mode), put(t);
    put(uint16_t(words.size())), put(uint8_t(scalars.size())), put(uint8_t(buffers.size()));
    for (int32_t word : words)
      put(word);
    for (float scalar : scalars)
      put(scalar);
    for (const std::vector<uint8_t>& buffer : buffers) {
      put(uint16_t(buffer.size()));
      bytes.append(buffer.begin(), buffer.end());
    }
    return bytes;
  }

  Program read() const {
    std::vector<Buffer> views;
    for (const std::vector<uint8_t>& buffer : buffers)
      views.push_back({buffer.data(), buffer.size()});
    return read_program(words.data(), words.size(), scalars.data(), scalars.size(), views);
  }
};

// An input that is half zeros or has values far beyond what networks see, from a plain generator.
inline std::vector<float> drawn_input(size_t count, uint8_t mode, uint32_t seed) {
  std::vector<float> x(count);
  uint32_t state = seed * 2654435761u + 1;
  for (float& entry : x) {
    state = state * 1664525u + 1013904223u;
    const float drawn = float(int32_t(state)) / float(1 << 30);
    entry = (mode & kHasZeros) && (state >> 8) % 2 ? 0.0f : (mode & kIsHuge) ? drawn * 1e30f : drawn;
  }
  return x;
}

} // namespace hdlif
