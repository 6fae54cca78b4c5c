"""How fast training is: kernels, whole networks beside the peers, seconds to an accuracy."""

import statistics
from typing import Any

from figures.markdown import of_values, spread, table
from figures.registry import Record
from figures.registry import table as registered

PARTS = ("forward", "input", "weights")


def _layer(row: dict[str, Any]) -> str:
    return f"{row['channels']} channels, {row['side']}x{row['side']}"


@registered("winograd", "winograd")
def _(record: Record) -> str:
    def taken(of: dict[str, Any]) -> str:
        return f"{of['ms'][1]:.2f}, {spread(of['times as fast'], '.1f')}"

    lines = [[_layer(row), str(row["batch"]), *(taken(row[part]) for part in PARTS)] for row in record["rows"]]
    return table(["layer", "batch", "forward, ms", "input, ms", "weights, ms"], lines)


@registered("winograd_off", "winograd")
def _(record: Record) -> str:
    def off(mine: float, its: float) -> str:
        return f"{_one_digit(mine)} ({_one_digit(its)})"

    lines = [[_layer(row), str(row["batch"]), *(off(*row[p]["off"]) for p in PARTS)] for row in record["rows"]]
    return table(["largest difference", "batch", "forward", "input", "weights"], lines)


def _one_digit(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-")


@registered("code_conv", "code_conv")
def _(record: Record) -> str:
    lines = []
    for row in record["results"]:
        line = [_layer(row), f"{row['share']:.0%}".replace("%", " %")]
        for part in ("forward", "weights", "input"):
            ratio = row[part]["ratio"]
            faster = spread((ratio["low"], ratio["median"], ratio["high"]), ".1f")
            line.append(f"{row[part]['kernels_ms']['median']:.2f}, {faster}")
        lines.append(line)
    return table(["layer", "codes not 0", "forward, ms", "weights, ms", "input, ms"], lines)


def cells(record: Record, batch_size: int, time_steps: int) -> dict[str, dict[str, Any]]:
    """The rows of one batch size and T, by name."""
    asked = (batch_size, time_steps)
    return {c["row"]: c for c in record["cells"] if (c["batch_size"], c["time_steps"]) == asked}


for _steps in (4, 16):

    @registered(f"training_resnet18_{_steps}", "training_resnet18")
    def _(record: Record, steps: int = _steps) -> str:
        lines = []
        for row, cell in cells(record, 16, steps).items():
            beside = cell["beside"]["clock"]
            seconds = statistics.quantiles(cell["clock"], n=4)
            lines.append([row, spread(seconds, ".2f"), *(spread(beside[o], ".2f") for o in ("fastest peer", "naive"))])
        return table([f"batch 16, T = {steps}", "s an update", "to the fastest peer", "to naive"], lines)


def _seconds(record: Record, places: list[tuple[int, int]]) -> str:
    found = [cells(record, *place) for place in places]
    lines = [[_short(row), *(f"{statistics.median(of[row]['clock']):.3g}" for of in found)] for row in found[0]]
    return table(["s an update", *(f"{batch}, T = {steps}" for batch, steps in places)], lines)


def _short(row: str) -> str:
    return row.replace("HD-LIF w1.5 s4", "w1.5 s4").replace("random ", "")


def _times_as_fast(record: Record, places: list[tuple[int, int]]) -> str:
    found = [cells(record, *place) for place in places]
    lines = [
        [_short(row), *(spread(of[row]["beside"]["clock"]["fastest peer"], ".2f") for of in found)] for row in found[0]
    ]
    return table(["to the fastest peer", *(f"{batch}, T = {steps}" for batch, steps in places)], lines)


GRID = [(16, 1), (16, 4), (16, 8), (16, 64), (64, 4), (128, 4)]
VGG = [(16, 1), (16, 4), (16, 8), (16, 16)]


@registered("training_grid_seconds", "training_resnet18_grid")
def _(record: Record) -> str:
    return _seconds(record, GRID)


@registered("training_grid_time_steps", "training_resnet18_grid")
def _(record: Record) -> str:
    return _times_as_fast(record, GRID[:4])


@registered("training_grid_batches", "training_resnet18_grid")
def _(record: Record) -> str:
    return _times_as_fast(record, [GRID[1], *GRID[4:]])


@registered("training_vgg_snn_seconds", "training_vgg_snn")
def _(record: Record) -> str:
    return _seconds(record, VGG)


@registered("training_vgg_snn", "training_vgg_snn")
def _(record: Record) -> str:
    return _times_as_fast(record, VGG)


def updates_to(curve: list[dict[str, float]], accuracy: float) -> float | None:
    """The first look at which the accuracy is reached."""
    return next((point["updates"] for point in curve if point["accuracy"] >= accuracy), None)


@registered("time_to_accuracy", "time_to_accuracy")
def _(record: Record) -> str:
    lines = []
    for row, found in record["rows"].items():
        curves, pace = list(found["trainings"].values()), found.get("seconds")
        rate = max(found["tuning"], key=found["tuning"].get)
        seconds = f"{statistics.median(pace):.3f}" if pace else "not timed"
        best = of_values([max(point["accuracy"] for point in curve) for curve in curves], ".2f", 100)
        line = [row, str(len(curves)), rate, seconds, best]
        for accuracy in (0.9, 0.91, 0.92):
            reached = [count for curve in curves if (count := updates_to(curve, accuracy)) is not None]
            if not reached or not pace:
                line.append("not reached" if not reached else "not timed")
                continue
            said = of_values([count * statistics.median(pace) for count in reached], ".0f")
            line.append(said if len(reached) == len(curves) else f"{said} ({len(reached)})")
        lines.append(line)
    head = ["row", "seeds", "rate", "s an update", "best, %", "s to 90 %", "to 91 %", "to 92 %"]
    return table(head, lines)
