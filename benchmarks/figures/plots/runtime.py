"""Latency against spike density."""

from figures.drawing import Line, Panel, Plot
from figures.records import record
from figures.registry import plot as registered


@registered("latency_density")
def _() -> Plot:
    rows = [row for name, row in record("runtime_density")["rows"].items() if not name.endswith(".safetensors")]
    rows.sort(key=lambda row: row["density"])
    lines = [
        Line(name, tuple((100 * row["density"], row[way]["median"]) for row in rows))
        for way, name in (("whole", "all steps at once"), ("step by step", "step by step"))
    ]
    for engine, name in (("openvino_int8", "OpenVINO INT8"),):
        median = record("runtime")["engines"][engine]["latency_ms"]["median"]
        ends = (rows[0]["density"], rows[-1]["density"])
        lines.append(Line(name, tuple((100 * density, median) for density in ends), "dotted"))
    panel = Panel("spikes that are not zero, %", "one image, ms (median)", tuple(lines))
    return Plot("Latency of a deployed ResNet-18 against its spike density, beside OpenVINO INT8", (panel,))
