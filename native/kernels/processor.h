// What an x86-64 processor offers, and its system keeps. Asked here, for what compilers offer to ask it with
// needs a library that some of them do not link, or answer "nothing" with.
#pragma once

#include <cstdint>
#include <initializer_list>

#if defined(__x86_64__) || defined(_M_X64)

namespace hdlif {

struct Processor {
  bool avx2 = false;     // with FMA and both BMI
  bool avx512 = false;   // the same, and F, BW, VL and DQ
  bool vnni = false;     // of AVX-512
  bool amx = false;      // on int8, with AVX-512; a process has to ask for it
  bool amx_bf16 = false; // on bfloat16 as well, with the instructions of AVX-512 that round to it
  bool sha = false;      // that of SHA-256, with SSE 4.1
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
  if (cpuid(0).a < 7 || !has(basic.c, {12, 27})) // FMA, and a system that says what it keeps
    return found;
  uint32_t kept, upper;
  asm volatile("xgetbv" : "=a"(kept), "=d"(upper) : "c"(0));
  const Registers extended = cpuid(7);
  found.avx2 = has(kept, {1, 2}) && has(extended.b, {3, 5, 8});
#if defined(__APPLE__)
  const bool keeps_512 = true; // from the first use on
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
