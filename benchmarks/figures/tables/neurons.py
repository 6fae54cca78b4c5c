"""What a neuron's chunk saves and takes."""

from figures.markdown import megabytes, spread, table
from figures.registry import Record
from figures.registry import table as registered


def _share(found: dict[str, float]) -> str:
    return f"{megabytes(found['fused'], '.2f')} ({found['fused'] / found['steps']:.1%})"


@registered("one_bit", "one_bit")
def _(record: Record) -> str:
    lines = []
    for row in record["rows"]:
        learned = "learned" if row["learned"] else "fixed"
        line = [row["recipe"].removesuffix("_hdlif"), str(row["time_steps"]), learned]
        for part in ("neuron_bytes", "network_bytes"):
            line += [megabytes(row[part]["steps"], ".2f"), _share(row[part])]
        lines.append([*line, spread(row["time"]["fused"], ".2f")])
    return table(["saved, MB", "T", "λ, θ", "neurons", "fused", "network", "fused", "time"], lines)


@registered("fused_neurons", "fused_neurons")
def _(record: Record) -> str:
    shapes: dict[str, None] = {}
    found: dict[str, dict[str, str]] = {}
    saved: dict[str, list[str]] = {}
    for row in record["rows"]:
        shape = str(row["shape"])
        shapes[shape] = None
        found.setdefault(row["neuron"], {})[shape] = spread(row["time"], ".2f")
        saved.setdefault(row["neuron"], [f"{row['bytes'][path]:.4g}" for path in ("steps", "fused")])
    lines = [[name, *(of[shape] for shape in list(shapes)[:3])] for name, of in found.items()]
    rest = [[name, *saved[name], *(of[shape] for shape in list(shapes)[3:])] for name, of in found.items()]
    first = table(["time", *list(shapes)[:3]], lines)
    return first + "\n\n" + table(["time", "bytes: steps", "fused", *list(shapes)[3:]], rest)


@registered("fused_networks", "fused_neurons")
def _(record: Record) -> str:
    lines = [
        [row["neuron"], str(row["time_steps"]), megabytes(row["bytes"]["steps"], ".2f"), _share(row["bytes"]),
         spread(row["time"], ".2f")]
        for row in record["networks"]
    ]  # fmt: skip
    return table(["neuron", "T", "steps, MB", "fused", "CPU time: fused / steps"], lines)
