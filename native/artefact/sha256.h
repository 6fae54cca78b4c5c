// SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace hdlif {

using Digest = std::array<uint8_t, 32>;

class Sha256 {
public:
  void add(const void* bytes, size_t count);
  // Return the digest of all added bytes. No more bytes may be added afterwards.
  Digest digest();

private:
  void blocks(const uint8_t* bytes, size_t count);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> rest_{};
  size_t held_ = 0; // number of bytes in rest_
  uint64_t count_ = 0;
};

// Return a digest as 64 lower-case hexadecimal digits.
std::string hexadecimal(const Digest& digest);

} // namespace hdlif
