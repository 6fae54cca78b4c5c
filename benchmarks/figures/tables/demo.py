"""The four networks of `hdlif demo`."""

from figures.markdown import table
from figures.registry import Record
from figures.registry import table as registered
from hdlif.report.tables import TITLES


@registered("demo_digits", "demo_digits")
@registered("demo_fashion_mnist", "demo_fashion_mnist")
def sizes(record: Record) -> str:
    lines = [
        [TITLES[n["name"]], f"{n['accuracy']:.2%}"[:-1], f"{n['params_mb']:.4f}", f"{n['stored_mb']:.4f}",
         f"{n['sops'] / 1e6:.3f}", f"{n['nops'] / 1e6:.3f}"]
        for n in record["networks"]
    ]  # fmt: skip
    return table(["network", "accuracy %", "MB published", "MB stored", "SOPs (M)", "NOPs (M)"], lines)


@registered("demo_digits_cost", "demo_digits")
@registered("demo_fashion_mnist_cost", "demo_fashion_mnist")
def costs(record: Record) -> str:
    lines = [
        [TITLES[n["name"]], f"{1e3 * n['energy_mj']:.3f}", f"{1e3 * n['energy_mj_honest']:.3f}",
         f"{n['train_seconds']:.1f}", f"{n['peak_bytes'] / 1e6:.1f}"]
        for n in record["networks"]
    ]  # fmt: skip
    return table(["network", "energy (µJ), paper", "honest", "training (s)", "peak (MB)"], lines)


def _list(shares: list[float], form: str) -> str:
    return ", ".join(format(100 * share, form) for share in shares)


@registered("demo_fashion_mnist_along", "demo_fashion_mnist")
def along(record: Record) -> str:
    """Test accuracy along the steps, and validation along the training."""
    lines = [
        [TITLES[n["name"]], _list(n["accuracy_per_step"], ".2f"), _list(n["validation_by_epoch"], ".1f")]
        for n in record["networks"]
    ]
    steps, epochs = (len(record["networks"][0][key]) for key in ("accuracy_per_step", "validation_by_epoch"))
    return table(["network", f"test %, steps 1 to {steps}", f"validation %, epochs 1 to {epochs}"], lines)


@registered("demo_fashion_mnist_densities", "demo_fashion_mnist")
def densities(record: Record) -> str:
    """Share of a neuron layer's outputs that are not zero."""
    lines = [[TITLES[n["name"]], *(f"{one:.0%}" for one in n["densities"].values())] for n in record["networks"]]
    return table(["spike density", *(f"layer {i + 1}" for i in range(len(lines[0]) - 1))], lines)


@registered("shared_statistics", "shared_statistics")
def shared_statistics(record: Record) -> str:
    """Test accuracy after each step."""
    kinds = [
        kind for kind in ("shared", "per step", "as trained") if kind in record["networks"][0]["accuracy_per_step"]
    ]
    lines = []
    for n in record["networks"]:
        name = TITLES[n["recipe"].removeprefix("fashion_mnist_")]
        lines.append([name, *(_list(n["accuracy_per_step"][kind], ".1f") for kind in kinds)])
    return table(["accuracy % after each step", *kinds], lines)
