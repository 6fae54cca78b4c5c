"""`hdlif neurons ls|show`: what a neuron computes, what it keeps, and what that costs."""

import inspect
import math
import textwrap
from dataclasses import asdict
from typing import Any

from hdlif import builders
from hdlif.builders.imported import is_own
from hdlif.errors import RecipeError, did_you_mean


def ls() -> dict[str, Any]:
    """The names of the neurons that ship."""
    return {"neurons": list(builders.NEURONS)}


def show(kind: str) -> dict[str, Any]:
    """A neuron that is made of one equation: the equation, its states, parameters, program and counts.

    Args:
        kind: of those that ship, or `package.module:Name`.

    Raises:
        RecipeError: there is no such neuron, or it is not made of an equation.
    """
    neuron = _neuron(kind)
    from hdlif.equations import counts
    from hdlif.nn import EquationNeuron

    if not issubclass(neuron, EquationNeuron):
        raise RecipeError(f'neuron "{kind}" is a module of its own; an equation is what EquationNeuron has')
    try:
        made = neuron(time_steps=1)
        program = made.program()
    except ValueError as error:
        raise RecipeError(f'neuron "{kind}": {error}') from error
    found = counts(program)
    return {
        "kind": kind,
        "doc": inspect.getdoc(neuron) if neuron.__doc__ else None,
        "equation": _source(neuron),
        "states": list(made.states),
        "parameters": [
            {
                "name": name,
                "start": parameter.start,
                "low": parameter.low if math.isfinite(parameter.low) else None,
                "high": parameter.high if math.isfinite(parameter.high) else None,
                "learned": parameter.learned,
                "per_step": parameter.per_step,
            }
            for name, parameter in neuron.declared.items()
        ],
        "program": program.text().splitlines(),
        "rows": list(program.rows),
        "emits": "codes of 0 and 1" if program.emits_steps else "reals",
        "surrogates": list(program.surrogates),
        "counts": asdict(found) | {"operations": found.operations},
    }


def text(shown: dict[str, Any]) -> str:
    """The same for a person."""
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
    lines += ["", "the program of a step:", *(f"    {line}" for line in shown["program"])]
    derivatives = (
        f"true but for that of H, which is {', '.join(shown['surrogates'])}" if shown["surrogates"] else "true"
    )
    lines += [
        "",
        f"emits {shown['emits']}; derivatives are {derivatives}",
        f"{of['operations']} operations a neuron and step: {of['multiplications']} multiplications, {of['additions']} "
        f"additions, {of['comparisons']} comparisons; {of['state_words']} numbers kept",
    ]
    return "\n".join(lines)


def _neuron(kind: str) -> Any:
    """The class of a kind. Raises `RecipeError`."""
    if is_own(kind):
        return builders.own_neuron(kind)
    if kind in builders.EQUATIONS:
        return builders.EQUATIONS[kind].get()
    known = ", ".join(builders.EQUATIONS)
    if kind in builders.NEURONS:
        raise RecipeError(
            f"neuron {kind!r} is not made of one equation in a class; what it computes stands in docs/equations.md. "
            f"Give one of {known}, or one of your own as package.module:Name"
        )
    raise RecipeError(
        f"neuron {kind!r} is unknown; {did_you_mean(kind, builders.EQUATIONS)}, or give one of your own as "
        "package.module:Name"
    )


def _source(neuron: Any) -> str | None:
    """The lines of its step; None where they are in no file."""
    try:
        return textwrap.dedent(inspect.getsource(neuron.step)).rstrip()
    except (OSError, TypeError):
        return None
