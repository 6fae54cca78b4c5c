// The features of an x86-64 processor whose registers the operating system saves. Detected here, because the
// built-in functions of compilers need a library that some do not link, or report no features.
#pragma once

#include <cstdint>
#include <initializer_list>

#if defined(__x86_64__) || defined(_M_X64)

namespace hdlif {

struct Processor {
  bool avx2 = false;     // with FMA and both BMI
  bool avx512 = false;   // AVX2 as above, and F, BW, VL and DQ
  bool vnni = false;     // the VNNI instructions of AVX-512
  bool amx = false;      // on int8, with AVX-512; a process must request it
  bool amx_bf16 = false; // also on bfloat16, with the AVX-512 instructions that round to bfloat16
  bool sha = false;      // the SHA-256 instructions, with SSE 4.1
};

inline Processor processor() {
  struct Registers {
    uint32_t a, b, c, d;
  };
  const auto cpuid = [](uint32_t leaf, uint32_t part = 0) {
    Registers found;
    asm volatile("cpuid" : "=a"(found.a), "=b"(found.b), "=c"(found.c), "=d"(found.d) : "a"(leaf), "c"(part));
    return found;
  };
  const auto has = [](uint32_t flags, std::initializer_list<int> bits) {
    for (int bit : bits)
      if ((flags >> bit & 1) == 0)
        return false;
    return true;
  };
  Processor found;
  const Registers basic = cpuid(1);
  if (cpuid(0).a < 7 || !has(basic.c, {12, 27})) // FMA, and OSXSAVE, which allows xgetbv
    return found;
  uint32_t kept, upper;
  asm volatile("xgetbv" : "=a"(kept), "=d"(upper) : "c"(0));
  const Registers extended = cpuid(7);
  found.avx2 = has(kept, {1, 2}) && has(extended.b, {3, 5, 8});
#if defined(__APPLE__)
  const bool keeps_512 = true; // macOS saves them from the first use on
#else
  const bool keeps_512 = has(kept, {5, 6, 7});
#endif
  found.avx512 = found.avx2 && keeps_512 && has(extended.b, {16, 17, 30, 31});
  found.amx = found.avx512 && has(kept, {17, 18}) && has(extended.d, {24, 25});
  found.amx_bf16 = found.amx && has(extended.d, {22}) && has(cpuid(7, 1).a, {5});
  found.sha = has(basic.c, {9, 19}) && has(extended.b, {29});
  found.vnni = found.avx512 && has(extended.c, {11});
  return found;
}

} // namespace hdlif

#endif
