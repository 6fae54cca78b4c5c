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
    return table(["network", "accuracy %", "params, MB (paper convention)", "file, MB", "SOPs (M)", "NOPs (M)"], lines)


@registered("demo_digits_cost", "demo_digits")
@registered("demo_fashion_mnist_cost", "demo_fashion_mnist")
def costs(record: Record) -> str:
    lines = [
        [TITLES[n["name"]], f"{1e3 * n['energy_mj']:.3f}", f"{1e3 * n['energy_mj_honest']:.3f}",
         f"{n['train_seconds']:.1f}", f"{n['peak_bytes'] / 1e6:.1f}"]
        for n in record["networks"]
    ]  # fmt: skip
    return table(["network", "energy, µJ: SOPs only", "all operations", "training, s", "peak, MB"], lines)
