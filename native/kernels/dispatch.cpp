#include "kernels.h"
#include "processor.h"

#if defined(HDLIF_HAS_TILES)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace hdlif {

extern const Kernels kKernels_scalar;
#if defined(__wasm_simd128__)
extern const Kernels kKernels_wasm_simd128;
#elif defined(__x86_64__) || defined(_M_X64)
extern const Kernels kKernels_avx2;
extern const Kernels kKernels_avx512;
#elif defined(__aarch64__)
extern const Kernels kKernels_neon;
#endif

#if defined(HDLIF_HAS_TILES)

extern const TileKernel kTileKernel;
extern const BfloatKernels kBfloatKernels;

namespace {

// Requests tiles from Linux, which saves them only for processes that request it; returns whether it agrees.
bool may_use_tiles() {
  constexpr long kAskForState = 0x1023, kTileData = 18;
  static const bool may = syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
  return may;
}

const Kernels& kernels_with_tiles(bool multiplies_bfloat16) {
  static const Kernels table = [&] {
    Kernels kernels = kKernels_avx512;
    kernels.name = "amx";
    kernels.sum_tiles = kTileKernel;
#if !defined(HDLIF_WITHOUT_TRAINING)
    if (multiplies_bfloat16)
      kernels.bfloat16 = &kBfloatKernels;
#endif
    return kernels;
  }();
  return table;
}

} // namespace

#endif

int available_kernels(const Kernels** tables, int room) {
  int count = 0;
  const auto offer = [&](const Kernels& table, bool runs) {
    if (runs && count < room)
      tables[count++] = &table;
  };
#if defined(__wasm_simd128__)
  offer(kKernels_wasm_simd128, true); // the module runs only on machines with SIMD
#else
  offer(kKernels_scalar, true);
#endif
#if defined(__x86_64__) || defined(_M_X64)
  const Processor found = processor();
  offer(kKernels_avx2, found.avx2);
  offer(kKernels_avx512, found.avx512);
#if defined(HDLIF_HAS_TILES)
  if (found.amx && may_use_tiles())
    offer(kernels_with_tiles(found.amx_bf16), true);
#endif
#elif defined(__aarch64__)
  offer(kKernels_neon, true);
#endif
  return count;
}

} // namespace hdlif
