"""The compiled runtime. Arrays are C-contiguous; a wrong shape raises ValueError, a wrong dtype TypeError."""

from collections.abc import Sequence as Several
from typing import Any

import numpy as np
from numpy.typing import NDArray

def instruction_sets() -> list[str]:
    """Return the compiled-in instruction sets that this machine supports, the best last."""

def check_artefact(content: bytes) -> None:
    """Check the content of a model file; raise ArtefactError if it breaks the format."""

class Network:
    graph: str
    """The JSON of the model file."""
    digest: str
    """The digest stored in the file, in hexadecimal."""
    values: list[tuple[str, list[int], int, bool]]
    """For the input and each node: name, shape without batch, largest code or 0, and whether it is constant in time."""
    states: list[tuple[str, int]]
    """For each state: name, and the index of the value with the same shape."""
    instructions: str
    passes: list[tuple[str, list[int]]]
    """For each pass: the name of its kernel, and its nodes."""
    weight_bytes: int
    working_bytes: int
    sequence_bytes: int
    """The size of the state of a `Sequence`."""
    def __init__(
        self, content: bytes, threads: int, instructions: str, max_bytes: int = ..., max_operations: int = ...
    ) -> None:
        """Raise ArtefactError if the content breaks the model file format, LimitError if it exceeds a limit."""

    def cost(
        self, batch: int, steps: int, is_static: bool, keeps_all: bool, owns_potentials: bool
    ) -> tuple[int, float]:
        """Return the bytes of weights and working memory of a run, and an upper bound of its operations.

        `owns_potentials`: the run gets no potentials from the caller.
        """

    def check(
        self, batch: int, steps: int, is_static: bool, keeps_all: bool = False, gives_state: bool = False
    ) -> None:
        """Raise LimitError if a run, including the arrays of its results, exceeds a limit."""

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
    """A sequence of calls. HdlifError: another thread is in a call. StateError: an earlier call was interrupted."""

    t: int
    """The number of steps so far; -1 if a call was interrupted."""
    sums: bytes
    """Float32 sums of the outputs of all steps if predictions use their mean; else zeros."""
    def __init__(self, network: Network) -> None: ...
    def advance(self, x: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        """Compute the next steps from x [C, H, W] or [K, C, H, W]."""

    def give(self, to: Several[NDArray[np.float32]]) -> None:
        """Copy the potentials, [1, H, W, C] each, to the arrays."""

    def take(self, from_: Several[NDArray[np.float32]], t: int) -> None: ...
    def save(self) -> bytes:
        """Return the state in the byte format of `hdlif.h`."""

    def load(self, state: bytes) -> None:
        """Restore a saved state; raise StateError if the bytes are not a state of this network."""

class LowBitConv:
    """A convolution of a batch of codes by low-bit weights; see native/training/low_bit_conv.h.

    Tensors are passed as addresses, which are not checked.
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
        """Write the scale of each output channel.

        Codes of 0 are not skipped in images, or parts of them, in which a fraction of more than `most_events` is not 0.
        A negative `most_events` selects a suitable fraction.

        ValueError: a size is not valid for a convolution, or this machine does not support the instruction set.
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
        """Compute y = scale * sums, [images, out, out, channels]; y = sums if the address of the scale is 0.

        If the addresses of `totals` and `squares` are not 0, also compute the totals of the sums and of their squares
        for each group of images, as float64 [group, channels].
        """

    def sums_squares(self, group: int) -> bool:
        """Return whether the squared sums of this many images add up to at most 2^53 for any codes."""

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
        """Compute the gradients whose addresses are not 0."""

    def multiplies_bfloat16(self) -> bool:
        """Return whether this machine multiplies bfloat16 on tiles, and the channels fill the tiles."""

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
        """As `backward`, from dy in bfloat16, at every input if `live` is 0. Requires `multiplies_bfloat16`."""

def set_parallel(function: int) -> None:
    """Run loops of training with GOMP_parallel at this address; 0: with this library's own threads."""

def count_events(codes: int, count: int, threads: int) -> int:
    """Return the number of codes that are not 0."""

def pool_codes(
    codes: int, images: int, size: tuple[int, int], channels: int, window: tuple[int, int], sums: int, threads: int
) -> None:
    """Sum maps [images, size, channels] over adjacent windows; see native/training/spike_codes.h."""

def ternarize(weights: int, count: int, to: int, threads: int, instruction_set: str = "") -> bool:
    """Write weights as `functional.ternarize_weight` does; return whether all input magnitudes are below 1."""

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
    """Quantise surpluses (`spikes` and `live` may be 0); return False if a surplus is negative or NaN."""

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
    """Compute the sums of a batch and of its squares, per channel and per group of `group` images.

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
    """Compute the normalisation of each group; see native/training/batch_norm.h. An address of 0 is no array."""

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
    """Compute gradients of weight, bias and statistics from row gradients; see native/training/batch_norm.h."""

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
    """Compute y = scale * (x - mean) + shift (+ plus, if its address is not 0); see native/training/batch_norm.h."""

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
    """Compute the gradients of the rows from the gradient of normalised maps; see native/training/batch_norm.h."""

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
    """Compute a 3x3 convolution or its input gradient; see native/training/winograd.h. Channels are (out, in)."""

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
    """Compute the kernel gradient of a 3x3 convolution; see native/training/winograd.h. Channels are (out, in)."""

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
        """ValueError: an instruction reads a register before it is written, or there are too many registers."""

class ChunkLayout:
    """The data that all calls of a chunk's program share.

    Three numbers give a location at a step: the index of a tensor of the call (negative: none), a factor of its
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
        """ValueError: an array has a wrong size, or this machine does not support the instruction set."""

    def run(self, tensors: Several[int], threads: int) -> bool:
        """Run the program once, with the addresses of the call's tensors, which are not checked.

        Return whether all codes are in 0..255.
        """

class Learner:
    """A network that continues to learn; `hdlif.runtime.learning` checks its arguments."""

    def __init__(
        self,
        content: bytes,
        places: Several[tuple[int, int, bool]],
        needed: Several[bool],
        rate: tuple[float, float, float],
        threads: int,
        instructions: str,
    ) -> None:
        """`places`: for each trained tensor, its node, its row (-1: weights), and whether the weights are binary.

        `needed`: whether each node's output needs a gradient. `rate`: rates of floats and latents, and momentum.
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
        """Compute one step per entry of `learns`, from step t; true entries add the gradients of `targets`."""

    def update(self) -> bool: ...
    def read(
        self, which: int, values: NDArray[np.float32], latents: NDArray[np.float32], velocities: NDArray[np.float32]
    ) -> None: ...
    def write(
        self, which: int, values: NDArray[np.float32], latents: NDArray[np.float32], velocities: NDArray[np.float32]
    ) -> None: ...
