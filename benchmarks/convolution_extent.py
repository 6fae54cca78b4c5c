"""Which convolutions' gradients go wrong, or beyond their buffers, in float32 and bfloat16 here.

    [ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2] python benchmarks/convolution_extent.py [--threads N]

Each shape is measured in a fork of its own, in which every aligned allocation (tensors are such) ends at an unmapped
page: a write beyond it by more than the alignment of 64 bytes ends the process. Needs Linux and a C compiler.
"""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

GUARD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#define ARENA (1UL << 38)
static char *arena;
static size_t used;
int posix_memalign(void **out, size_t alignment, size_t size) {
    const size_t page = 4096, whole = (size + alignment + page - 1) / page * page;
    if (!arena) {
        arena = mmap(0, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (arena == MAP_FAILED) return ENOMEM;
    }
    char *pages = arena + __atomic_fetch_add(&used, whole + page, __ATOMIC_RELAXED);
    if (mprotect(pages, whole, PROT_READ | PROT_WRITE)) return ENOMEM;
    *out = (void *)((uintptr_t)(pages + whole - size) / alignment * alignment);
    return 0;
}
void free(void *block) {
    static void (*real)(void *);
    if (arena && (char *)block >= arena && (char *)block < arena + ARENA) return;
    if (!real) real = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    real(block);
}
"""
SECONDS = 60
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2}


def guarded(arguments: list[str]) -> int:
    """This program again, with guarded allocations."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "guard.c", Path(folder) / "guard.so"
        source.write_text(GUARD)
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), "MALLOC_ARENA_MAX": "1"}
        return subprocess.run([sys.executable, __file__, *arguments], env=environment, check=False).returncode


def outcome(channels, out_channels, kernel, stride, groups, side, batch, layout, dtype) -> str:
    """ "right", "wrong", or the signal that ended the process."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        os._exit(measure(channels, out_channels, kernel, stride, groups, side, batch, layout, dtype))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name.replace("SIGALRM", "hangs")
    return "wrong" if os.WEXITSTATUS(status) else "right"


def measure(channels, out_channels, kernel, stride, groups, side, batch, layout, dtype) -> int:
    import torch

    torch.manual_seed(0)
    kind, layout = getattr(torch, dtype), getattr(torch, layout)
    x = torch.randn(batch, channels, side, side).to(kind)
    w = torch.randn(out_channels, channels // groups, *kernel).to(kind)
    settings = {"stride": stride, "padding": (kernel[0] // 2, kernel[1] // 2), "groups": groups}
    found = []
    towards = None
    for a, b in ((x.double(), w.double()), (x.to(memory_format=layout), w.to(memory_format=layout))):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        y = torch.nn.functional.conv2d(a, b, **settings)
        towards = torch.randn(y.shape).to(kind) if towards is None else towards
        y.backward(towards.to(y.dtype))
        found.append([t.double() for t in (y.detach(), a.grad, b.grad)])
    errors = [float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True)]
    return int(not all(error < TOLERANCE[dtype] for error in errors))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        return guarded(sys.argv[1:])
    import torch

    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {arguments.threads} threads")
    few = [*range(1, 10), 12, 15, 16, 17, 24, 32, 64]
    images = ((8, 3), (64, 3))
    narrow = [(c, o, (1, 1), s, 1) for c in few for o, s in ((8, (2, 2)), (8, (1, 2)), (1, (2, 2)), (33, (3, 3)))]
    kernels = ((1, 1), (2, 2), (1, 3), (3, 3), (5, 5))
    others = [
        (c * groups, 8 * groups, kernel, stride, groups)
        for c, kernel, stride, groups in itertools.product((1, 4, 7, 12), kernels, ((1, 1), (2, 2)), (1, 2))
        if not (kernel == (1, 1) and stride == (2, 2) and groups == 1)
    ]
    for dtype, layout in itertools.product(("float32", "bfloat16"), ("channels_last", "contiguous_format")):
        seen = defaultdict(list)
        for shape, (side, batch) in itertools.product([*narrow, *others], images):
            seen[outcome(*shape, side, batch, layout, dtype)].append((*shape, side))
        print(f"{dtype}, {layout}: " + ", ".join(f"{len(shapes)} {name}" for name, shapes in seen.items()), flush=True)
        for name, shapes in seen.items():
            if name != "right":
                for kernel, stride, groups, out in sorted({(s[2], s[3], s[4], s[1]) for s in shapes}):
                    channels = sorted(
                        {s[0] for s in shapes if (s[2], s[3], s[4], s[1]) == (kernel, stride, groups, out)}
                    )
                    print(f"  {name}: kernel {kernel}, stride {stride}, groups {groups}, to {out}: from {channels}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
