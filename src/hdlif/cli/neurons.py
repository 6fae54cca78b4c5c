"""Implement `hdlif neurons`, which lists neurons and shows their equations, states and costs."""

import ast
import inspect
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from hdlif.cli.names import NEURON
from hdlif.cli.options import argument, group, option, subcommand
from hdlif.errors import RecipeError, did_you_mean
from hdlif.recipe import builders
from hdlif.recipe.builders.external_parts import GROUPS, hidden, is_own, offers
from hdlif.report.tables import aligned

if TYPE_CHECKING:
    from hdlif.nn import SteppedNeuron

MOST_COLUMNS = 100
"""Width of the list in characters."""
VARIANTS = {
    "lif": ("reset=hard",),
    "sliding_parallel_hdlif": ("taps=[1, 0, -1]", "taps=[1, 1, 1, 1]"),
}
"""Keys that change the costs of a kind of neuron, for additional rows in the table of costs."""


def ls(
    *,
    costs: bool = False,
) -> dict[str, Any]:
    """List the neurons in hdlif and installed packages, with their spike types and states.

    Use package.module:Name for your own neurons.

    Args:
        costs: Print a table with the operations and state per step of each shipped neuron.
    """
    group = GROUPS["neuron.kind"]
    installed = [asdict(offer) for offered in offers(group).values() for offer in offered]
    return {
        "neurons": list(builders.NEURONS),
        "about": {kind: inspect.getdoc(part) for kind, part in builders.NEURONS.items()},
        "spikes": {kind: "graded" if part.IS_GRADED else "binary" for kind, part in builders.NEURONS.items()},
        "states": {kind: list(part.STATES) for kind, part in builders.NEURONS.items()},
        "installed": [offer for offer in installed if offer["name"] not in builders.NEURONS],
        "hidden": hidden(group, builders.NEURONS),
        **({"costs": step_costs()} if costs else {}),
    }


def names(found: dict[str, Any]) -> str:
    """Format the list of neurons as text."""
    if "costs" in found:
        return costs_table(found["costs"])
    rows = [[kind, found["spikes"][kind], ", ".join(found["states"][kind]) or "none"] for kind in found["neurons"]]
    heading, rule, *columns = aligned(["neuron", "spikes", "states"], rows, left=(0, 1, 2)).splitlines()
    width = len(rule)
    lines = [heading, rule]
    for kind, cells in zip(found["neurons"], columns, strict=True):
        said = found["about"][kind].removesuffix(".")
        lines.append(
            textwrap.fill(said, MOST_COLUMNS, initial_indent=f"{cells:{width}}  ", subsequent_indent=" " * (width + 2))
        )
    lines += [f"{offer['name']}  ({offer['distribution']} {offer['version']})" for offer in found["installed"]]
    return "\n".join([*lines, *found["hidden"]])


def step_costs() -> list[dict[str, Any]]:
    """Return the costs per time step of the shipped neurons and their variants."""
    chosen = [(kind, keys) for kind in builders.NEURONS for keys in ((), *((one,) for one in VARIANTS.get(kind, ())))]
    shown = [(kind, keys, show(kind, keys)) for kind, keys in chosen]
    return [
        {"kind": kind, "keys": list(keys), "saved_bytes": one["saved_bytes"], **one["counts"]}
        for kind, keys, one in shown
    ]


def costs_table(found: Sequence[dict[str, Any]]) -> str:
    """Format the costs of neurons as a Markdown table."""
    lines = [
        "| neuron | multiplications | additions | comparisons | NOPs | bytes of state | bytes saved, fused |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    columns = ("multiplications", "additions", "comparisons", "operations", "state_bytes", "saved_bytes")
    for row in found:
        name = ", ".join([f"`{row['kind']}`", *(f"`{key.replace('=', ': ')}`" for key in row["keys"])])
        lines.append(f"| {name} | " + " | ".join(f"{row[column]:g}" for column in columns) + " |")
    return "\n".join(lines)


def show(
    neuron: Annotated[str, argument(type=NEURON)],
    overrides: Annotated[Sequence[str], option("--set", multiple=True, metavar="KEY=V")] = (),
) -> dict[str, Any]:
    """Show the equation, states, parameters, derivatives and computational costs of NEURON.

    NEURON is a shipped neuron with an equation, such as adaptive_hdlif, or your own neuron, given as
    package.module:Name.

    \f

    Args:
        overrides: A key of the section neuron; repeatable.
    Raises:
        RecipeError: the neuron is unknown, lacks a key, or has no equation.
    """
    kind, found_class = neuron, _neuron(neuron)
    from hdlif.nn import SteppedNeuron
    from hdlif.report.accounting import bytes_a_step, step_counts

    if not issubclass(found_class, SteppedNeuron):
        raise RecipeError(f'neuron "{kind}" is not an EquationNeuron, so it has no equation to show')
    try:
        made: SteppedNeuron = _made(kind, overrides) if overrides else found_class(time_steps=1)
        program = made.program()
    except ValueError as error:
        raise RecipeError(f'neuron "{kind}": {error}') from error
    found = step_counts(made)
    return {
        "kind": kind,
        "doc": inspect.getdoc(found_class) if found_class.__doc__ else None,
        "equation": _source(made.equation()),
        "states": list(made.states),
        "parameters": [_parameter(made, name) for name in made.row_values()],
        "time_constants": _spread(kind, found_class),
        "program": program.text().splitlines(),
        "rows": list(program.rows),
        "emits": "codes of 0 and 1" if program.emits_steps else "reals",
        "surrogates": list(program.surrogates),
        "counts": asdict(found) | {"operations": found.operations, "state_bytes": found.state_bytes},
        "saved_bytes": bytes_a_step(made),
    }


def _made(kind: str, overrides: Sequence[str]) -> "SteppedNeuron":
    """Build a neuron with the given recipe keys, or raise `RecipeError` if a key is invalid."""
    from hdlif.models import Place
    from hdlif.nn import SteppedNeuron
    from hdlif.recipe import load_recipe

    if any(override.split("=")[0].strip() == "kind" for override in overrides):
        raise RecipeError(f'kind cannot be set, because it is the neuron itself, "{kind}"; name another neuron instead')
    section = [f"neuron={{kind: {json.dumps(kind)}}}", *(f"neuron.{override}" for override in overrides)]
    made = builders.build_neuron(load_recipe("digits_hdlif", section))(Place("shown", 0, 0, 0, 0, 1))
    if not isinstance(made, SteppedNeuron) or getattr(made, "norm", None) is not None:
        raise RecipeError(
            f'neuron "{kind}" with {", ".join(overrides)} has more than one equation; `hdlif profile` of a recipe with '
            "it counts all of them"
        )
    return made


def _spread(kind: str, neuron: Any) -> list[str]:
    """Return the names of a neuron's leak parameters that `neuron.time_constants` can set."""
    leaks = builders.NEURONS[kind].LEAKS if kind in builders.NEURONS else builders.leaks_of(neuron)
    return [name for name in leaks if name in builders.LEAKS]


def _parameter(made: "SteppedNeuron", name: str) -> dict[str, Any]:
    """Describe a parameter of a neuron with its range and default value."""
    from hdlif.nn import EquationNeuron

    low, high = made.range_of(name)
    declared = made.declared[name] if isinstance(made, EquationNeuron) else None
    return {
        "name": name,
        "start": float(f"{float(made.row_values()[name][0, 0]):.6g}"),
        "low": low if math.isfinite(low) else None,
        "high": high if math.isfinite(high) else None,
        "learned": made.learns(name) if declared is None else declared.learned,
        "per_step": None if declared is None else declared.per_step,
    }


def text(shown: dict[str, Any]) -> str:
    """Format the description of a neuron as text."""
    of = shown["counts"]
    lines = [shown["kind"], *(["", shown["doc"]] if shown["doc"] else [])]
    if shown["equation"]:
        lines += ["", shown["equation"]]
    lines += ["", f"states, 0 at first: {', '.join(shown['states']) or 'none'}"]
    for parameter in shown["parameters"]:
        low, high = ("-∞" if parameter["low"] is None else f"{parameter['low']:g}"), parameter["high"]
        high = "∞" if high is None else f"{high:g}"
        learned = {
            None: f"learned in ({low}, {high}) unless neuron.learned is false",
            True: f"learned in ({low}, {high})",
            False: "fixed",
        }[parameter["learned"]]
        shared = {None: "", True: ", one for each step", False: ", one for all steps"}[parameter["per_step"]]
        lines.append(f"parameter {parameter['name']} = {parameter['start']:g}, {learned}{shared}")
    if shown["time_constants"]:
        leak, *others = shown["time_constants"]
        by_name = f", and by name {', '.join(others)}" if others else ""
        lines.append(f"neuron.time_constants spreads {leak} over the channels{by_name}")
    lines += ["", "the program of a step:", *(f"    {line}" for line in shown["program"])]
    derivatives = (
        f"true but for that of H, which is {', '.join(shown['surrogates'])}" if shown["surrogates"] else "true"
    )
    lines += [
        "",
        f"emits {shown['emits']}; derivatives are {derivatives}",
        f"{_counted(of['operations'], 'operation')} per neuron and step: "
        f"{', '.join(_counted(of[f'{each}s'], each) for each in ('multiplication', 'addition', 'comparison'))}; "
        f"{_counted(of['state_words'], 'number')} kept, {of['state_bytes']} bytes",
        f"{shown['saved_bytes']:g} bytes per neuron and step saved for training with path = fused, in float32",
    ]
    return "\n".join(lines)


def _counted(count: int, what: str) -> str:
    """Format a count with its noun, such as "2 comparisons".

    >>> _counted(1, "comparison"), _counted(2, "comparison")
    ('1 comparison', '2 comparisons')
    """
    return f"{count} {what}{'s' * (count != 1)}"


def _neuron(kind: str) -> Any:
    """Return the Python class for a kind of neuron, or raise `RecipeError` if the kind is unknown."""
    if kind in builders.CLASSES:
        return builders.CLASSES[kind].get()
    if not is_own(kind) and kind not in (offered := offers(GROUPS["neuron.kind"])):
        raise RecipeError(
            f"neuron {kind!r} is unknown; {did_you_mean(kind, {*builders.CLASSES, *offered})}, or give one of your own "
            "as package.module:Name"
        )
    return builders.own_neuron(kind)


def _source(step: Any) -> str | None:
    """Return the source code of a step function without its docstring, or None if there is no source."""
    while isinstance(step, partial):
        step = step.func
    try:
        source = textwrap.dedent(inspect.getsource(step)).rstrip()
    except (OSError, TypeError):
        return None
    lines, (function,) = source.splitlines(), ast.parse(source).body
    first = function.body[0] if isinstance(function, ast.FunctionDef) else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno is not None:
        del lines[first.lineno - 1 : first.end_lineno]
    return "\n".join(lines)


COMMAND = group(
    "neurons",
    "List neurons, and show their equations.",
    [
        subcommand(
            ls,
            ("hdlif neurons ls", "names and descriptions"),
            ("hdlif neurons ls --costs", "operations per step, and bytes of state"),
            text=names,
            short="All neurons, with descriptions.",
        ),
        subcommand(
            show,
            ("hdlif neurons show adaptive_hdlif", "equation, states and derivatives"),
            ("hdlif neurons show sliding_parallel_hdlif --set taps=[1,-1]", "with an argument"),
            text=text,
            short="Equation, states, parameters and costs of a neuron.",
        ),
    ],
    ("hdlif neurons ls", "shipped neurons"),
    ("hdlif neurons show adaptive_hdlif", "equation of one neuron"),
)
