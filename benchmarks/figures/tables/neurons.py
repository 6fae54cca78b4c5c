"""What a neuron's chunk saves and takes, and what a membrane does."""

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


@registered("membranes", "membranes")
def _(record: Record) -> str:
    kinds = {"hdlif": "none", "mem_bn": "from (1, 0)", "mem_bn_sigmoid": "from (½, ½)"}
    networks = {network["run"]: network["layers"] for network in record["networks"]}
    lines = []
    for place in range(len(networks["hdlif"])):
        for run, kind in kinds.items():
            layer = networks[run][place]
            name = layer["name"].removeprefix("body.").replace(".0.", ".")
            variance = layer["normalised_variance"]
            lines.append(
                [name, kind, _list(layer["normalised_mean"], ".2f"), _list(variance, ".2f"),
                 f"{variance[-1] / variance[0]:.2f}", _list([100 * rate for rate in layer["firing_rate"]], ".0f")]
            )  # fmt: skip
    return table(["layer", "Mem-BN", "mean at t = 1 to 4", "variance", "last / first", "firing, %"], lines)


def _list(values: list[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
