"""The rows of bench_training.py: networks of ours and of the peers, and how each is trained."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hdlif.learning import Plan, Rule
from hdlif.learning.coherence import Drawn
from hdlif.nn import Neuron
from hdlif.recipe import Recipe, builders, load_recipe
from hdlif.training import Accelerator, Updater, sgd
from hdlif.training.optimization import OnePass
from training_peers import PEERS, UNET_DEPTH, WIDTHS, Peer, Shape, plan_of

RECIPES = {
    "resnet18": "cifar100_resnet18_hdlif",
    "vgg_snn": "dvs_cifar10_vgg_snn_hdlif",
    # For its images: no map that it could learn ships.
    "unet": "cifar100_resnet18_hdlif",
}
"""By network."""
TIMED = ("resnet18", "vgg_snn")
"""Networks that learn what their recipe's data have."""
PLANS = 4
"""Timed of a rule that draws."""
WINDOW = 4
SMALL, SMALL_STEPS = 4, 3
"""Width and T of the networks that are compared."""
NAIVE = "naive random step"
COMPRESSED = ("weights={kind: ternary}", "spikes={kind: quantised, bits: 4, step: 0.25, offset: 0.5}")
BFLOAT16 = ", bf16"
"""Follows the name of a row whose convolutions and products run in bfloat16, by PyTorch's autocast."""
VARIANTS = {
    ", path steps": "neuron.path=steps",
    ", one by one": "rule.chunk=1",
    ", channels last": "training.channels_last=true",
    BFLOAT16: "training.precision=bf16-mixed",
}
"""What may follow the name of a row of ours, and what it overrides; of a peer's, `BFLOAT16` alone."""


@dataclass(frozen=True)
class Row:
    """What is measured.

    Attributes:
        rule: the recipe's section, without the length of a window; peers have none.
        overrides: more of the recipe.
        peer: the key of `PEERS`; ours have none.
        beside: the row of LIF neurons with the same rule.
    """

    rule: str = ""
    overrides: tuple[str, ...] = ("neuron={kind: hdlif, path: fused}",)
    peer: str = ""
    beside: str = ""


STBP, SLTT, STEP = "{kind: stbp}", "{kind: sltt}", "{kind: stochastic_step, chunk: 4}"
OF_WINDOW = "{kind: stochastic_window}"
LIF = ("neuron={kind: lif, path: fused}",)
W1P5_S4 = (*Row().overrides, *COMPRESSED)
ROWS: Mapping[str, Row] = {
    "HD-LIF random step": Row(STEP),
    "HD-LIF random window of 4": Row(OF_WINDOW),
    "HD-LIF SLTT": Row(SLTT, beside="LIF SLTT"),
    "HD-LIF STBP": Row(STBP, beside="LIF STBP"),
    "LIF SLTT": Row(SLTT, LIF),
    "LIF STBP": Row(STBP, LIF),
    "HD-LIF w1.5 s4 random step": Row(STEP, W1P5_S4),
    "HD-LIF w1.5 s4 random window of 4": Row(OF_WINDOW, W1P5_S4),
    **{name: Row(peer=name) for name in PEERS},
}


def row_named(name: str) -> Row:
    """The row of that name, of ours in any of its variants. Raises `KeyError`."""
    base, overrides = name, list[str]()
    while variant := next((one for one in VARIANTS if base.endswith(one)), None):
        base = base.removesuffix(variant)
        overrides.append(VARIANTS[variant])
    row = ROWS[base]
    if row.peer and any(one != VARIANTS[BFLOAT16] for one in overrides):
        raise KeyError(name)
    return dataclasses.replace(row, overrides=(*row.overrides, *overrides))


@dataclass(frozen=True)
class Cell:
    network: str
    batch_size: int
    time_steps: int

    def __str__(self) -> str:
        return f"{self.network}, batch {self.batch_size}, T = {self.time_steps}"


def recipe_of(row: Row, cell: Cell, width: int) -> Recipe:
    """Of a peer's row what its batch and its sizes are taken from."""
    overrides = [f"time_steps={cell.time_steps}", f"data.batch_size={cell.batch_size}", "norm.per_step=false"]
    if cell.network == "resnet18":
        overrides.append(f"model.width={width}")
    elif cell.network == "unet":
        overrides.append(f"model={{kind: unet, width: {width}, depth: {UNET_DEPTH}}}")
    else:
        overrides.append(f"model.plan={json.dumps(plan_of(width))}")
    # The peers' criterion has none.
    overrides.append("training.label_smoothing=0")
    if row.rule == OF_WINDOW:
        overrides.append(f"rule={{kind: stochastic_window, length: {min(WINDOW, cell.time_steps)}, chunk: 4}}")
    elif row.rule:
        overrides.append(f"rule={row.rule}")
    return load_recipe(RECIPES[cell.network], [*overrides, *row.overrides])


def plans_of_rule(rule: Rule, time_steps: int) -> list[Plan]:
    """Those that a rule of ours may be carried out with, in the order of their last steps."""
    if isinstance(rule, Drawn):
        return sorted((plan for plan, _ in rule.plans(time_steps)), key=lambda plan: plan.steps[-1])
    return [rule.schedule(time_steps, torch.Generator())]


def plans_of_peer(peer: Peer, time_steps: int) -> range:
    """The last steps that a peer's update may have."""
    return range(time_steps) if peer.rule == "random step" else range(time_steps)[-1:]


class Ours:
    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self._recipe = recipe
        self.network, self._rule = builders.build_model(recipe).train(), builders.build_rule(recipe)
        accelerator = Accelerator("cpu", recipe.training.precision)
        channels_last = recipe.training.channels_last
        self._update = Updater(accelerator, self.network, _sgd(self.network), self._rule, channels_last=channels_last)

    def plans(self) -> Sequence[Any]:
        return plans_of_rule(self._rule, self._recipe.time_steps)

    def draw(self) -> None:
        generator = torch.Generator().manual_seed(self._recipe.seed)
        self._x, self._target = builders.random_batch(self._recipe, generator)

    def update(self, plan: Any) -> None:
        self._update(self._x, self._target, plan)

    def density(self) -> float:
        """The share of spikes that are not 0, of all layers in the first steps."""
        fired = neurons = 0

        def count(module: nn.Module, args: object, output: tuple[Tensor, object]) -> None:
            nonlocal fired, neurons
            fired += int(output[0].count_nonzero())
            neurons += output[0].numel()

        hooks = [m.register_forward_hook(count) for m in self.network.modules() if isinstance(m, Neuron)]
        steps = range(min(self._recipe.time_steps, PLANS))
        with torch.no_grad():
            self.network(self._x[: len(steps)], None, steps=steps)
        for hook in hooks:
            hook.remove()
        return fired / neurons


class Theirs:
    def __init__(self, peer: Peer, recipe: Recipe) -> None:
        self.network, self._peer, self._recipe = peer.network.train(), peer, recipe
        if recipe.training.precision == "bf16-mixed":
            self.network.forward = in_bfloat16(self.network.forward)  # type: ignore[method-assign]
        self._optimizer = _sgd(self.network)
        # As our updates have it.
        self._one_pass = OnePass(self._optimizer)

    def plans(self) -> Sequence[Any]:
        return plans_of_peer(self._peer, self._recipe.time_steps)

    def draw(self) -> None:
        generator = torch.Generator().manual_seed(self._recipe.seed)
        x, target = builders.random_batch(self._recipe, generator)
        self._x, self._target = x.expand(self._recipe.time_steps, *x.shape[1:]), target

    def update(self, plan: Any) -> None:
        self._peer.backward(self._x, self._target, plan)
        self._one_pass.prepare()
        self._optimizer.step()
        self._optimizer.zero_grad()


def in_bfloat16(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Run a forward pass under autocast, as a training on a CPU has it; the loss is that of float32 logits."""

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(x)

    return lambda x: run(x).float()


def _sgd(model: nn.Module) -> torch.optim.SGD:
    # A rate at which no number of updates on noise makes the loss infinite.
    return sgd(model, learning_rate=1e-4, momentum=0.9, weight_decay=5e-4)


def shape_of(recipe: Recipe, network: str, width: int) -> Shape:
    return Shape(network, width, builders.input_record(recipe).shape[0], len(builders.data_kind(recipe).labels))


def training_of(row: Row, cell: Cell, width: int | None) -> Ours | Theirs:
    width = WIDTHS[cell.network] if width is None else width
    recipe = recipe_of(row, cell, width)
    if not row.peer:
        return Ours(recipe)
    torch.manual_seed(recipe.seed)
    return Theirs(PEERS[row.peer](shape_of(recipe, cell.network, width), cell.time_steps), recipe)


def timed_plans(plans: Sequence[Any]) -> list[Any]:
    """At most `PLANS`, the first and the last among them, as far from each other as can be."""
    count = min(PLANS, len(plans))
    return [plans[round(place * (len(plans) - 1) / max(1, count - 1))] for place in range(count)]
