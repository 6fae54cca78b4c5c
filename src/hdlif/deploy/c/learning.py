"""C code for continued learning; all trained values are in a struct that the caller allocates.

All arithmetic is in float32, in the same order as in the reference `hdlif.runtime.reference_learning`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hdlif.deploy.c.arithmetic import Floats
from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.c_file import START, CFile, Lifetime, Struct, c_type, packed
from hdlif.deploy.c.ops import EMITTERS
from hdlif.deploy.c.ops.seca import POWERS
from hdlif.deploy.c.synapses import rows_in
from hdlif.deploy.c.text import real
from hdlif.deploy.c.trained import Member, Trained, trained_in
from hdlif.errors import StateError
from hdlif.graph.artefact.io import digest_of
from hdlif.graph.dataflow import state_names
from hdlif.graph.graph import Array, Graph, Node
from hdlif.graph.learning import Level, Place
from hdlif.graph.ops import OPS
from hdlif.graph.ops.conv2d import groups_of
from hdlif.graph.weights import codes_of
from hdlif.runtime.learning import DEFAULT_RATE

Arrays = Sequence[tuple[str, str, int]]
"""Members of a struct: (type, name, entries); 0 entries mean a single number."""


@dataclass
class Learning:
    """The parts of a C file that implement learning.

    Attributes:
        learned: the struct of all values that training changes.
        gradients: the struct of the gradient sums since the last update.
        work: the struct of the scratch memory for a backward pass.
        functions: the texts of the backward passes by name, in execution order.
    """

    file: CFile
    name: str
    trained: Trained
    functions: dict[str, str] = field(default_factory=dict, init=False)

    number = "float"
    loss = "gradient_of_loss"
    rates = "float rate, float latent_rate"

    @property
    def rates_comment(self) -> tuple[str, ...]:
        """Return the lines of a comment on an update's learning rates and return value."""
        return (
            "   Numbers move by `rate` times the mean, scales by this times their squared start value, and low-bit",
            "   weights by `latent_rate` of a code (root mean square). Returns 1; or 0, without changing the network,",
            "   if there are no gradients or a number would not be finite. */",
        )

    def __post_init__(self) -> None:
        self._nodes = {node.name: node for node in self.file.graph.nodes}
        self.members = [self._member(place) for place in self.trained.places]
        self._offsets, self._entries = self._gradients()
        self._add_functions()
        self.learned, self.gradients, self.work = map(_struct, (self._learned(), self._sums(), self._work()))

    @property
    def default_rates(self) -> str:
        """Return the C arguments for an update at the default learning rate."""
        return f"{real(DEFAULT_RATE.floats)}, {real(DEFAULT_RATE.latents)}"

    def _add_functions(self) -> None:
        """Write the backward passes, and add their kernels to the file."""
        begun = {self.file.graph.output}
        for node in self._backward():
            text = BackwardText(
                node, self.file, Floats(), needed=self.trained.needed, offsets=self._offsets, begun=begun
            )
            backward = EMITTERS[node.op].backward
            assert backward is not None
            backward(text, node)
            function = f"back__{self.file.names[node.name]}"
            self.functions[function] = text.written(function, f"back from {node.name}")
        self.file.use(self.loss, **POWERS)
        for kind in ("latents", "numbers"):
            if any(member.is_latent == (kind == "latents") for member in self.members):
                self.file.use(f"move_{kind}", momentum=real(self.trained.momentum))
        self.file.includes.add("math.h")

    @property
    def ram_bytes(self) -> int:
        """Return the total size in bytes of the three structs for learning."""
        return self.learned.size + self.gradients.size + self.work.size

    def _backward(self) -> list[Node]:
        """Return the nodes of a backward pass in execution order."""
        reached = [node for node in reversed(self.file.graph.nodes) if node.name in self._offsets]
        return [node for node in reached if node.name in self.trained.needed]

    def _gradients(self) -> tuple[dict[str, int], int]:
        """Return the offset of each gradient, and the total size of all gradients.

        The memory of a value's gradient is in use from the value's last reader back to the node that computes the
        value.
        """
        graph, lives = self.file.graph, dict[str, Lifetime]()
        lives[graph.output] = Lifetime(self.file.size(graph.output), 0, 0)
        for step, node in enumerate(reversed(graph.nodes), 1):
            if node.name in lives and node.name in self.trained.needed:
                lives[node.name].last = step
                for name in node.inputs:
                    if name in self.trained.needed:
                        lives.setdefault(name, Lifetime(self.file.size(name), step, step))
        return packed(lives)

    def _member(self, place: Place) -> Member:
        node = self._nodes[place.node]
        tensor = node.tensors[place.role]
        if OPS[node.op].is_synapse:
            rows = rows_in(self.file, node, tensor)
            name = self.file.weights(node).lower()
            return Member(place, name, c_type(rows.table), rows.table.size, tensor.size, rows)
        return Member(place, self.file.rows(node, place.role).name.lower(), "float", tensor.size, tensor.size)

    def _learned(self) -> Arrays:
        arrays = [("uint32_t", "updates", 0), ("uint32_t", "network", 0)]
        arrays += [(one.type, one.name, one.entries) for one in self.members]
        if self.trained.momentum > 0:
            arrays += [("float", f"{one.name}__velocities", one.size) for one in self.members]
        arrays += [("int16_t", f"{one.name}__latents", one.size) for one in self.members if one.is_latent]
        return sorted(arrays, key=lambda array: -_dtype(array[0]).itemsize)

    def memory(self, content: bytes) -> dict[str, Array]:
        """Convert the bytes of a `NAME_learned` struct to the format of `hdlif.runtime.Learner.memory`.

        Raises:
            StateError: `content` has a different size.
        """
        if len(content) != self.learned.size:
            raise StateError(
                f"{len(content):,} bytes were given, but the struct of level = {self.trained.level} has "
                f"{self.learned.size:,}; give all bytes, from the same network, level and momentum"
            )
        held, at = dict[str, Array](), 0
        for kind, name, count in self._learned():
            found_there = np.frombuffer(content, _dtype(kind), max(count, 1), at)
            held[name] = found_there.astype(found_there.dtype.newbyteorder("="))
            at += found_there.nbytes
        if held["network"][0] != network_of(self.file.graph):
            raise StateError("the bytes are from another network; give the model file that was exported")
        found = {"updates": np.array(held["updates"][0], np.int64)}
        for one in self.members:
            found[one.place.key] = self._as_in_file(one, held[f"{one.name}__latents" if one.is_latent else one.name])
            if (velocities := held.get(f"{one.name}__velocities")) is not None:
                found[f"{one.place.key}.velocity"] = self._as_in_file(one, velocities)
        return found

    def content(self, memory: Mapping[str, Array]) -> bytes:
        """Convert a learner's memory to the bytes of a struct `NAME_learned`, the inverse of `memory`."""
        held = {"updates": memory["updates"], "network": np.array(network_of(self.file.graph))}
        for one in self.members:
            values = memory[one.place.key]
            if one.is_latent:
                held[f"{one.name}__latents"] = values
                values = codes_of(values, self._nodes[one.place.node].attributes["encoding"])
            held[one.name] = self._as_in_c(one, values)
            if (velocities := memory.get(f"{one.place.key}.velocity")) is not None:
                held[f"{one.name}__velocities"] = velocities if one.is_latent else self._as_in_c(one, velocities)
        held |= {name: memory[name] for _, name, _ in self._learned() if name not in held}
        arrays = (held[name].astype(_dtype(kind)).tobytes() for kind, name, _ in self._learned())
        return b"".join(arrays).ljust(self.learned.size, b"\0")

    def _as_in_c(self, one: Member, values: Array) -> Array:
        """Convert a tensor to the C layout, in which weights are packed."""
        return values if one.rows is None else rows_in(self.file, self._nodes[one.place.node], values).table

    def _as_in_file(self, one: Member, values: Array) -> Array:
        """Convert a tensor from the C layout to the original shape."""
        node = self._nodes[one.place.node]
        shape = node.tensors[one.place.role].shape
        if one.rows is None or one.is_latent:
            return values.reshape(shape)
        groups, taps = groups_of(node), math.prod(shape[2:])
        by_input = values.reshape(groups, taps, shape[1], shape[0] // groups)
        return by_input.transpose(0, 3, 2, 1).reshape(shape)

    def _sums(self) -> Arrays:
        return [("uint32_t", "terms", 0), *((self.number, one.name, one.size) for one in self.members)]

    def _work(self) -> Arrays:
        states = ((self.number, name, size) for name, size in self._states().items())
        return [(self.number, "gradients", self._entries), *states]

    def _states(self) -> dict[str, int]:
        """Return the names and sizes of those states from the previous step that backward passes read."""
        return {
            self.file.state_names[f"{node.name}.{name}"]: self.file.size(node.name)
            for node in self._backward()
            for name in state_names(node)
        }

    def types(self) -> str:
        """Return C type definitions that give the structs short names."""
        pairs = (("LEARNED", "learned"), ("GRADIENTS", "gradients"), ("LEARN_WORK", "learn_work"))
        return "\n".join(f"typedef {self.name}_{of} {short};" for short, of in pairs)

    def header(self) -> list[str]:
        """Return the header lines that declare the structs and the training functions."""
        name, upper = self.name, self.name.upper()
        return [
            *self.gradients.typedef(f"{name}_gradients", "Sums of gradients since the last update; all 0 at the start"),
            "",
            *self.work.typedef(f"{name}_learn_work", "Workspace of the backward pass of one step"),
            "",
            "/* Saved values belong to this network if their member `network` is this number. */",
            f"#define {upper}_NETWORK {network_of(self.file.graph)}u",
            f"#define {upper}_DEFAULT_RATES {self.default_rates}",
            "",
            "/* Resets to the network as exported. */",
            f"void {name}_learned_start({name}_learned *learned);",
            "",
            f"/* Runs {name}_step, and adds the gradients of the cross-entropy of the class `target`.",
            f"   Returns 1; or 0, without adding gradients, if `target` is {upper}_LABELS or more. */",
            f"int {name}_learn_step({name}_state *state, {name}_work *work, const {name}_learned *learned,",
            f"{name}_gradients *gradients, {name}_learn_work *learn, const {name}_number *frame, uint32_t target,",
            f"{name}_number *outputs);",
            "",
            "/* Updates the network with the mean gradients, and clears the sums.",
            *self.rates_comment,
            self._update_head + ";",
            "",
        ]

    def code(self) -> str:
        return "\n".join((*self.functions.values(), self._start(), self._learn_step(), self._update()))

    def _layer(self, one: Member) -> str:
        return f"&{self.file.names[one.place.node].upper()}__LAYER"

    def _start(self) -> str:
        lines = ["memset(learned, 0, sizeof *learned);", f"learned->network = {self.name.upper()}_NETWORK;"]
        for one in self.members:
            lines.append(f"memcpy(learned->{one.name}, {one.name.upper()}{START}, sizeof learned->{one.name});")
            if one.rows is not None and one.is_latent:
                lines += [
                    f"start_latents({self._layer(one)}, learned->{one.name}, {one.rows.bits},",
                    f"learned->{one.name}__latents, {one.size}, {one.fraction});",
                ]
        return f"void {self.name}_learned_start({self.name}_learned *learned)\n{{\n" + "\n".join(lines) + "\n}\n"

    def _learn_step(self) -> str:
        name, output = self.name, self.file.graph.output
        copies = [f"memcpy(learn->{state}, state->{state}, sizeof learn->{state});" for state in self._states()]
        calls = self._passes()
        return "\n".join(
            (
                f"int {name}_learn_step({name}_state *state, {name}_work *work, const {name}_learned *learned,",
                f"{name}_gradients *gradients, {name}_learn_work *learn, const {name}_number *frame, uint32_t target,",
                f"{name}_number *outputs)",
                "{",
                *(["const uint32_t t = state->t;"] if self.functions else []),
                *copies,
                f"{name}_step(state, work, learned, frame, outputs);",
                f"if (target >= {name.upper()}_LABELS)",
                "return 0;",
                f"{self.loss}(outputs, {name.upper()}_OUTPUTS, target,",
                f"learn->gradients + {self._offsets[output]});",
                *calls,
                "gradients->terms++;",
                "return 1;",
                "}\n",
            )
        )

    def _passes(self) -> list[str]:
        """Return the C calls that compute a step's gradients from the gradient of the outputs."""
        return [f"{function}(frame, work, learn, gradients, t, learned);" for function in self.functions]

    def _update_function(self, lines: list[str]) -> str:
        """Return the C update function with the given statements."""
        return "\n".join((self._update_head, "{", *lines, "}\n"))

    @property
    def _update_head(self) -> str:
        return f"int {self.name}_update({self.name}_learned *learned, {self.name}_gradients *gradients, {self.rates})"

    def _update(self) -> str:
        moves = [f"is_finite = is_finite && {self._move(one)};" for one in self.members]
        return self._update_function(
            [
                "const NUMBER terms = (NUMBER)gradients->terms;",
                "int is_finite = gradients->terms > 0;",
                "/* the first pass changes nothing */",
                "for (int moves = 0; moves < 2; moves++) {",
                *moves,
                "}",
                *([] if any(one.is_latent for one in self.members) else ["(void)latent_rate;"]),
                "memset(gradients, 0, sizeof *gradients);",
                "learned->updates += is_finite ? 1u : 0u;",
                "return is_finite;",
            ]
        )

    def _move(self, one: Member) -> str:
        velocities = f"learned->{one.name}__velocities" if self.trained.momentum > 0 else "0"
        given = f"gradients->{one.name}, {velocities}, {one.size}, terms"
        if one.rows is not None and one.is_latent:
            two = int(self._nodes[one.place.node].attributes["encoding"] == "binary")
            return (
                f"move_latents({self._layer(one)}, learned->{one.name}, {one.rows.bits},\n"
                f"learned->{one.name}__latents, {given}, latent_rate, {one.fraction}, {one.rows.largest}, {two}, moves)"
            )
        start = f"(const NUMBER *){one.name.upper()}{START}" if one.place.role == "scale" else "0"
        return f"move_numbers(learned->{one.name}, {start}, {given}, rate, moves)"


def network_of(graph: Graph) -> int:
    """Return the first 32 bits of the graph's digest, which identify values trained for this network."""
    return int(digest_of(graph)[:8], 16)


def learning_of(graph: Graph, level: Level, momentum: float = 0.0, name: str = "network") -> Learning:
    """Return the parts of a C file that implement learning, without the rest of the file.

    `Learning.memory` converts the bytes of a device's struct to the memory of a `hdlif.runtime.Learner` with the same
    graph, `level` and `momentum`. A learner with this memory can continue training or save the network as a model file.
    `Learning.content` converts a learner's memory to the bytes of a struct.

    Raises:
        HdlifError: the network cannot be trained at this level.
    """
    what = trained_in(graph, level, momentum)
    return Learning(CFile(graph, what.places, what.kept), name, what)


def _dtype(kind: str) -> np.dtype[Any]:
    """Return the NumPy type of a member's entries on a little-endian device."""
    return np.dtype(kind.removesuffix("_t").replace("float", "float32")).newbyteorder("<")


def _struct(arrays: Arrays) -> Struct:
    """Return a C struct of the given arrays, which must be ordered from the widest to the narrowest type."""
    size = sum(_dtype(kind).itemsize * max(count, 1) for kind, _, count in arrays)
    members = [f"{kind} {name}[{count}];" if count else f"{kind} {name};" for kind, name, count in arrays]
    return Struct(members, -(-size // 4) * 4)
