"""Statistics of a membrane with and without Mem-BN."""

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered


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
