"""How fast training is: seconds to an accuracy, and seconds of an update against T."""

import statistics

from figures.drawing import Line, Panel, Plot
from figures.records import record
from figures.registry import plot as registered
from figures.tables.training import GRID, cells


@registered("time_to_accuracy")
def _() -> Plot:
    lines = []
    for row, found in record("time_to_accuracy")["rows"].items():
        if not found.get("seconds"):
            continue
        pace, curves = statistics.median(found["seconds"]), list(found["trainings"].values())
        places = min(len(curve) for curve in curves)
        points = tuple(
            (curves[0][i]["updates"] * pace, 100 * statistics.mean(curve[i]["accuracy"] for curve in curves))
            for i in range(places)
        )
        seeds = "one seed" if len(curves) == 1 else f"mean of {len(curves)}"
        lines.append(Line(f"{row} ({seeds})", points))
    panel = Panel("seconds of training", "validation accuracy, %", tuple(lines), lowest_y=75)
    return Plot("Accuracy on Fashion-MNIST against seconds of training, beside the peers", (panel,))


@registered("update_time_steps")
def _() -> Plot:
    found = record("training_resnet18_grid")
    places = [place for place in GRID if place[0] == 16]
    rows = cells(found, *places[0])
    lines = tuple(
        Line(
            row, tuple((steps, statistics.median(cells(found, batch, steps)[row]["clock"])) for batch, steps in places)
        )
        for row in rows
    )
    panel = Panel("time steps T", "seconds of an update", lines, log_x=True, log_y=True)
    return Plot("Seconds of an update of a ResNet-18 against the number of time steps, beside the peers", (panel,))
