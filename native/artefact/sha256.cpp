#include "sha256.h"

#include <algorithm>
#include <cstring>

#include "../kernels/processor.h"

#if defined(__x86_64__) || defined(_M_X64)
#define HDLIF_SHA_INSTRUCTIONS
#include <immintrin.h>
#endif

namespace hdlif {
namespace {

using State = std::array<uint32_t, 8>;

constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t turned(uint32_t x, int bits) {
  return x >> bits | x << (32 - bits);
}

uint32_t big_endian(const uint8_t* bytes) {
  return uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 | uint32_t(bytes[2]) << 8 | bytes[3];
}

void add_block(State& state, const uint8_t* bytes) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i)
    w[i] = big_endian(bytes + 4 * i);
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[i - 7] +
           (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
  }
  State s = state;
  for (int i = 0; i < 64; ++i) {
    const uint32_t chosen = (s[4] & s[5]) ^ (~s[4] & s[6]),
                   most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    const uint32_t first =
        s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) + chosen + kRound[i] + w[i];
    const uint32_t second = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) + most;
    s = {first + second, s[0], s[1], s[2], s[3] + first, s[4], s[5], s[6]};
  }
  for (size_t i = 0; i < 8; ++i)
    state[i] += s[i];
}

#if defined(HDLIF_SHA_INSTRUCTIONS)

// As above, for several blocks and four rounds at a time. The instructions hold the state's words a..h as (f,
// e, b, a) and (h, g, d, c), with the first word lowest.
__attribute__((target("sha,sse4.1"))) void add_blocks(State& state, const uint8_t* bytes, size_t count) {
  const auto words = [](const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); };
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i badc = _mm_shuffle_epi32(words(&state[0]), 0xb1),
                hgfe = _mm_shuffle_epi32(words(&state[4]), 0x1b);
  __m128i feba = _mm_alignr_epi8(badc, hgfe, 8), hgdc = _mm_blend_epi16(hgfe, badc, 0xf0);
  for (; count > 0; --count, bytes += 64) {
    const __m128i feba_before = feba, hgdc_before = hgdc;
    __m128i w[4];
    for (int i = 0; i < 4; ++i)
      w[i] = _mm_shuffle_epi8(words(bytes + 16 * i), big_endian);
    for (int i = 0; i < 16; ++i) {
      const __m128i own = w[i % 4], next = w[(i + 1) % 4], third = w[(i + 2) % 4], last = w[(i + 3) % 4];
      const __m128i sums = _mm_add_epi32(own, words(&kRound[4 * i]));
      hgdc = _mm_sha256rnds2_epu32(hgdc, feba, sums);
      feba = _mm_sha256rnds2_epu32(feba, hgdc, _mm_shuffle_epi32(sums, 0x0e));
      w[i % 4] = _mm_sha256msg2_epu32(
          _mm_add_epi32(_mm_sha256msg1_epu32(own, next), _mm_alignr_epi8(last, third, 4)), last);
    }
    feba = _mm_add_epi32(feba, feba_before);
    hgdc = _mm_add_epi32(hgdc, hgdc_before);
  }
  const __m128i abef = _mm_shuffle_epi32(feba, 0x1b), ghcd = _mm_shuffle_epi32(hgdc, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(&state[0]), _mm_blend_epi16(abef, ghcd, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(&state[4]), _mm_alignr_epi8(ghcd, abef, 8));
}

#endif

} // namespace

void Sha256::blocks(const uint8_t* bytes, size_t count) {
#if defined(HDLIF_SHA_INSTRUCTIONS)
  static const bool has_instructions = processor().sha;
  if (has_instructions)
    return add_blocks(state_, bytes, count);
#endif
  for (; count > 0; --count, bytes += rest_.size())
    add_block(state_, bytes);
}

void Sha256::add(const void* bytes, size_t count) {
  const auto* from = static_cast<const uint8_t*>(bytes);
  count_ += count;
  if (held_ > 0) {
    const size_t taken = std::min(count, rest_.size() - held_);
    std::memcpy(rest_.data() + held_, from, taken);
    held_ += taken;
    from += taken;
    count -= taken;
    if (held_ < rest_.size())
      return;
    blocks(rest_.data(), 1);
    held_ = 0;
  }
  blocks(from, count / rest_.size());
  from += count / rest_.size() * rest_.size();
  count %= rest_.size();
  if (count > 0)
    std::memcpy(rest_.data(), from, count);
  held_ = count;
}

Digest Sha256::digest() {
  const uint64_t bits = count_ * 8;
  constexpr uint8_t kFill[64] = {0x80};
  add(kFill, held_ < 56 ? 56 - held_ : 120 - held_);
  uint8_t length[8];
  for (int i = 0; i < 8; ++i)
    length[i] = uint8_t(bits >> (56 - 8 * i));
  add(length, 8);
  Digest found;
  for (size_t i = 0; i < found.size(); ++i)
    found[i] = uint8_t(state_[i / 4] >> (24 - 8 * (i % 4)));
  return found;
}

std::string hexadecimal(const Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

} // namespace hdlif
