"""Reproduce a fault of oneDNN in the weight gradient of narrow strided 1x1 convolutions, channels last.

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=2 python benchmarks/onednn_gradient.py

`docs/reference/installing.md` describes the fault and what each line should print.
"""

import os
import signal

import torch
import torch.nn.functional as F


def gradient(x, w, towards, layout):
    x, w = x.to(memory_format=layout), w.to(memory_format=layout).requires_grad_()
    F.conv2d(x, w, stride=2).backward(towards)
    return w.grad.double()


def report(size, batch, channels):
    torch.manual_seed(0)
    x, w = torch.randn(batch, channels, size, size), torch.randn(8, channels, 1, 1)
    towards = torch.randn(batch, 8, size // 2, size // 2)
    expected = gradient(x.double(), w.double(), towards.double(), torch.contiguous_format)
    for layout in (torch.contiguous_format, torch.channels_last):
        got = gradient(x.clone(), w.clone(), towards, layout)
        error = (got - expected).abs().max() / expected.abs().max()
        print(
            f"{batch} images of {size}x{size}, {channels} channels, {layout}: off by {error:.1e} of the largest",
            flush=True,
        )


def main():
    print(torch.__version__, torch.backends.cpu.get_cpu_capability(), flush=True)
    for size, batch in ((8, 64), (64, 3)):
        for channels in (1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16):
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                report(size, batch, channels)
                os._exit(0)
            if ended := os.waitpid(child, 0)[1]:
                print(
                    f"{batch} images of {size}x{size}, {channels} channels: ended by signal {ended & 127}", flush=True
                )


if __name__ == "__main__":
    main()
