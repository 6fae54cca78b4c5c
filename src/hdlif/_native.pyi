"""The compiled runtime. Arrays are C-contiguous; a wrong shape raises ValueError, a wrong dtype TypeError."""

from collections.abc import Sequence as Several
from typing import Any

import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> list[str]:
    """What was compiled in and runs on this machine, the best last."""

def check_artefact(content: bytes) -> None:
    """ArtefactError: a byte or a field of a model file breaks the format."""

class Network:
    graph: str
    """The JSON of the file."""
    digest: str
    """That the file states, in hexadecimal."""
    values: list[tuple[str, list[int], int, bool]]
    """Of the input and each node: name, shape without batch, largest code or 0, and whether it is constant in time."""
    states: list[tuple[str, int]]
    """Name, and the number of the value whose shape it has."""
    instructions: str
    passes: list[tuple[str, list[int]]]
    """The kernel that computes each pass, and its nodes."""
    weight_bytes: int
    working_bytes: int
    sequence_bytes: int
    """Of what a `Sequence` holds."""
    def __init__(
        self, content: bytes, threads: int, instructions: str, max_bytes: int = ..., max_operations: int = ...
    ) -> None:
        """ArtefactError: the content of a model file breaks the format. LimitError: it takes more than a limit."""

    def cost(
        self, batch: int, steps: int, is_static: bool, keeps_all: bool, owns_potentials: bool
    ) -> tuple[int, float]:
        """Bytes of the weights and the working memory of a run, and an upper bound of its products of a layer.

        `owns_potentials`: it is given none.
        """

    def check(
        self, batch: int, steps: int, is_static: bool, keeps_all: bool = False, gives_state: bool = False
    ) -> None:
        """LimitError: a run, with the arrays of its results, takes more than a limit."""

    def run(
        self,
        x: NDArray[np.float32],
        steps: int,
        t: int,
        potentials: Several[NDArray[Any]] | None,
        logits: NDArray[np.float32],
        seconds: NDArray[np.float64] | None = None,
    ) -> None: ...
    def run_values(
        self,
        x: NDArray[np.float32],
        steps: int,
        logits: NDArray[np.float32],
        values: Several[NDArray[np.float32]],
    ) -> None: ...

class Sequence:
    """HdlifError: another thread is within a call. StateError: a call before was interrupted."""

    t: int
    """The steps that it has seen; -1 where a call was interrupted."""
    sums: bytes
    """Float32, of the outputs of all steps, where the answer is read off their mean; else zeros."""
    def __init__(self, network: Network) -> None: ...
    def advance(self, x: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        """x [C, H, W] or [K, C, H, W]."""

    def give(self, to: Several[NDArray[np.float32]]) -> None:
        """Its potentials, [1, H, W, C] each."""

    def take(self, from_: Several[NDArray[np.float32]], t: int) -> None: ...
    def save(self) -> bytes:
        """Its state as `hdlif.h` describes it."""

    def load(self, state: bytes) -> None:
        """StateError: the bytes are no state of the network."""

class LowBitConv:
    """A convolution of a batch of codes by low-bit weights; see native/training/low_bit_conv.h.

    Tensors are given by their addresses, which are taken as they are.
    """

    def __init__(
        self,
        weights: int,
        scale: int,
        in_size: tuple[int, int],
        out_size: tuple[int, int],
        channels: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        max_code: int,
        threads: int,
        instruction_set: str = "",
        most_events: float = -1.0,
    ) -> None:
        """Fills the scale of each output channel.

        No code is skipped in an image, or a part of it, where more than a share `most_events` is not 0; below 0, a
        share that suits.

        ValueError: a size is none of a convolution, or this machine has no such instruction set.
        """

    def forward(
        self,
        codes: int,
        images: int,
        scale: int,
        y: int,
        group: int,
        totals: int,
        squares: int,
        threads: int,
    ) -> None:
        """y = scale * the sums, [images, out, out, channels]; the sums where the address of the scale is 0.

        And of each group of images what the sums and their squares add up to, [group, channels] of float64, where those
        addresses are not 0.
        """

    def sums_squares(self, group: int) -> bool:
        """Whether the squares of the sums of so many images add up to at most 2^53, whatever the codes are."""

    def backward(
        self,
        dy: int,
        images: int,
        codes: int,
        step: float,
        weight_gradient: int,
        live: int,
        scale: int,
        input_gradient: int,
        threads: int,
    ) -> None:
        """The gradients whose addresses are not 0."""

    def multiplies_bfloat16(self) -> bool:
        """Whether tiles multiply bfloat16 here, and the channels fill them."""

    def backward_in_bfloat16(
        self,
        dy: int,
        images: int,
        codes: int,
        step: float,
        weight_gradient: int,
        live: int,
        scale: int,
        input_gradient: int,
        threads: int,
    ) -> None:
        """The same from dy in bfloat16, at every input where the address `live` is 0. Only if `multiplies_bfloat16`."""

def set_parallel(function: int) -> None:
    """Have loops of training shared out by GOMP_parallel at this address; 0: by threads of this library's own."""

def count_events(codes: int, count: int, threads: int) -> int:
    """How many codes are not 0."""

def pool_codes(
    codes: int, images: int, size: tuple[int, int], channels: int, window: tuple[int, int], sums: int, threads: int
) -> None:
    """Sums over windows that lie side by side, of maps [images, size, channels]; see native/training/spike_codes.h."""

def ternarize(weights: int, count: int, to: int, threads: int, instruction_set: str = "") -> bool:
    """Weights of 1.5 bits, as `functional.ternarize_weight` gives them; whether none of them is 1 or more."""

def quantise_surpluses(
    surplus: int,
    count: int,
    inverse_step: float,
    offset: float,
    largest: float,
    step: float,
    codes: int,
    spikes: int,
    live: int,
    threads: int,
) -> bool:
    """Codes, and spikes and where surpluses are above 0 where their addresses are not 0; False: one is no surplus."""

def batch_moments(
    maps: int,
    images: int,
    group: int,
    pixels: int,
    channels: int,
    channels_last: bool,
    totals: int,
    squares: int,
    threads: int,
    instruction_set: str = "",
) -> None:
    """Sums of a batch, and of its squares, by channel, of each group of so many images.

    See native/training/batch_norm.h.
    """

def batch_norm_rows(
    weight: int,
    bias: int,
    eps: float,
    running_mean: int,
    running_var: int,
    steps: Several[int],
    momenta: Several[float],
    totals: int,
    squares: int,
    count: int,
    unit: int,
    are_units: bool,
    channels: int,
    mean: int,
    scale: int,
    shift: int,
    slope: int,
) -> None:
    """What normalises each group; see native/training/batch_norm.h. An address of 0 is nothing."""

def batch_norm_gradients(
    mean: int,
    scale: int,
    slope: int,
    count: int,
    groups: int,
    channels: int,
    of_scale: int,
    of_shift: int,
    of_weight: int,
    of_bias: int,
    x_shift: int,
    x_slope: int,
) -> None:
    """Gradients of weight, bias and statistics from those of the rows; see native/training/batch_norm.h."""

def normalise(
    x: int,
    mean: int,
    scale: int,
    shift: int,
    plus: int,
    plus_images: int,
    images: int,
    group: int,
    pixels: int,
    channels: int,
    channels_last: bool,
    y: int,
    threads: int,
    instruction_set: str = "",
) -> None:
    """y = scale * (x - mean) + shift, plus other maps if their address is not 0; see native/training/batch_norm.h."""

def sum_row_gradients(
    gradient: int,
    x: int,
    mean: int,
    images: int,
    group: int,
    pixels: int,
    channels: int,
    channels_last: bool,
    of_scale: int,
    of_shift: int,
    threads: int,
    instruction_set: str = "",
) -> None:
    """The gradients of the rows from that of normalised maps; see native/training/batch_norm.h."""

def maps_gradient(
    gradient: int,
    x: int,
    scale: int,
    shift: int,
    slope: int,
    images: int,
    group: int,
    pixels: int,
    channels: int,
    channels_last: bool,
    to: int,
    threads: int,
    instruction_set: str = "",
) -> None:
    """to = (scale *) gradient + shift + slope * x, no scale if its address is 0; see native/training/batch_norm.h."""

def winograd_convolve(
    weights: int,
    channels: tuple[int, int],
    is_back: bool,
    x: int,
    images: int,
    size: tuple[int, int],
    y: int,
    threads: int,
    instruction_set: str = "",
) -> None:
    """A convolution of 3x3, or the gradient of its input; see native/training/winograd.h. Channels are (out, in)."""

def winograd_kernel_gradient(
    x: int,
    dy: int,
    images: int,
    size: tuple[int, int],
    channels: tuple[int, int],
    gradient: int,
    threads: int,
    instruction_set: str = "",
) -> None:
    """The gradient of the kernels of a convolution of 3x3; see native/training/winograd.h. Channels are (out, in)."""

class Chunk:
    """A program over a chunk of steps (`hdlif.graph.equations.chunk_program`)."""

    def __init__(
        self,
        streams: Several[int],
        after: Several[int],
        rows: int,
        instructions: Several[tuple[int, int, int, int, float]],
        results: Several[tuple[int, int]],
        summed: Several[int],
    ) -> None:
        """ValueError: a register is read before it is written, or there are too many."""

class ChunkLayout:
    """All that calls of a chunk's program have in common.

    Where something is at a step is three numbers: a tensor of the call's, or one below 0 for none, a factor of its
    address, and an offset. The tables are those of native/kernels/chunk.h.
    """

    def __init__(
        self,
        chunk: Chunk,
        is_double: bool,
        steps: int,
        entries: int,
        streams: NDArray[np.int64],
        results: NDArray[np.int64],
        rows: NDArray[np.int64],
        before: NDArray[np.int64],
        after: NDArray[np.int64],
        sums: NDArray[np.int64],
        row_columns: NDArray[np.int64],
        sum_columns: NDArray[np.int64],
        sum_rows: NDArray[np.int64],
        sum_counts: NDArray[np.int64],
        instruction_set: str = "",
    ) -> None:
        """ValueError: an array has another size, or this machine has no such instruction set."""

    def run(self, tensors: Several[int], threads: int) -> bool:
        """Once, with the addresses of the call's tensors, which are taken as they are.

        Whether all codes are in 0..255.
        """

class Learner:
    """A network that goes on learning; `hdlif.runtime.learning` checks what it gets."""

    def __init__(
        self,
        content: bytes,
        places: Several[tuple[int, int, bool]],
        needed: Several[bool],
        rate: tuple[float, float, float],
        threads: int,
        instructions: str,
    ) -> None:
        """`places`: of each trained tensor the node; the row, or -1 of weights; whether these are binary.

        `needed`: whether the gradient of each node's output is. `rate`: of floats, of latents, momentum.
        """

    def run(
        self,
        x: NDArray[np.float32],
        t: int,
        learns: Several[bool],
        potentials: Several[NDArray[Any]],
        targets: NDArray[np.int64] | None,
        logits: NDArray[np.float32],
    ) -> None:
        """Steps from t on, one for each entry of `learns`: whether the gradients of `targets` are added."""

    def update(self) -> bool: ...
    def read(
        self, which: int, values: NDArray[np.float32], latents: NDArray[np.float32], velocities: NDArray[np.float32]
    ) -> None: ...
    def write(
        self, which: int, values: NDArray[np.float32], latents: NDArray[np.float32], velocities: NDArray[np.float32]
    ) -> None: ...
