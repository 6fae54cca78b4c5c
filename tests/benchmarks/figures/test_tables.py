"""What the tables of documentation show of a record."""

from typing import Any

import pytest

from figures.tables import coherence, demo, digits, losses, neurons_and_rules, runtime, series


def cell(*accuracies: float, **more: Any) -> dict[str, Any]:
    mean = sum(accuracies) / len(accuracies)
    std = None if len(accuracies) == 1 else (sum((a - mean) ** 2 for a in accuracies) / (len(accuracies) - 1)) ** 0.5
    kept = {"n": len(accuracies), "accuracies": list(accuracies), "accuracy": mean, "std": std, "sops": 2e6}
    return kept | {"train_seconds": 12.3, "peak_bytes": 30_000_000, "parameters": 17_922} | more


def table(**rows: dict[str, Any]) -> dict[str, Any]:
    return {"rows": rows, "undefined": {"LIF": ["random step, 1.5-bit, 4-bit spikes"]}}


def rows_of(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if not line.startswith("| -")]


def test_number_of_seeds_is_said_where_it_is_not_the_tables() -> None:
    record = table(LIF={"STBP": cell(0.9, 0.92), "SLTT": cell(0.5)})
    assert rows_of(digits.two_seeds(record))[1] == ["LIF", "91.00 ± 1.41", "50.00 (1)"]
    assert rows_of(digits.rows(record))[1] == ["LIF", "91.00 ± 1.41 (2)", "50.00 (1)"]


def test_means_are_over_rules_and_over_neurons() -> None:
    low = "random step, 1.5-bit, 4-bit spikes"
    of = {rule: cell(0.8, 0.9) for rule in digits.RULES}
    record = table(LIF=of, graded={**of, "STBP": cell(1.0, 1.0), low: cell(0.1, 0.1)})
    grid, by_neuron, by_rule = digits.every(record).split("\n\n")
    assert rows_of(grid)[1][-1] == "—"
    assert rows_of(by_neuron)[1:] == [["LIF", "85.0", "± 1.7"], ["graded", "88.0", "± 2.5"]]
    assert rows_of(by_rule)[1:3] == [["STBP", "92.5", "± 4.8"], ["SLTT", "85.0", "± 2.9"]]


def test_neurons_with_more_memory_show_what_they_cost() -> None:
    record = table(adaptive={"STBP": cell(0.9, 0.9, 0.9), "random step": cell(0.8, 0.8, 0.8)})
    assert rows_of(digits.rows_neurons(record)) == [
        ["accuracy %", "STBP", "random", "operations", "words"],
        ["adaptive", "90.00 ± 0.00", "80.00 ± 0.00", "7", "2"],
    ]


def test_densities_are_rows_and_networks_columns() -> None:
    one, other = {"free": cell(0.9, 0.9), "density 0.3": cell(0.8, 0.8, sops=1e6)}, {"free": cell(0.7, 0.7)}
    record = {"rows": {"HD-LIF, 1.5-bit": one, "the same": other | {"density 0.3": cell(0.6, 0.6)}}}
    assert rows_of(digits.activity(record)) == [
        ["accuracy %, M SOPs", "1.5-bit", "the same"],
        ["free", "90.00 ± 0.00, 2.000", "70.00 ± 0.00, 2.000"],
        ["density 0.3", "80.00 ± 0.00, 1.000", "60.00 ± 0.00, 2.000"],
    ]


def test_losses_show_the_cost_of_the_cut_and_the_gain_of_each_change_over_pairs_of_a_seed() -> None:
    def of(*accuracies: float) -> dict[str, Any]:
        return cell(*accuracies) | {"runs": [{"seed": seed, "accuracy": a} for seed, a in enumerate(accuracies)]}

    columns = [f"{rule}, {loss}" for loss in ("mean output", "each step") for rule in ("STBP", "SLTT")]
    first, second = [of(0.9, 0.8), of(0.8, 0.5), of(0.6, 0.6), of(0.7, 0.7)], [of(0.9, 0.9)] * 4
    rows = {"LIF": first, "HD-LIF": second}
    record = table(**{neuron: dict(zip(columns, cells, strict=True)) for neuron, cells in rows.items()})
    assert rows_of(losses.losses(record))[1][3::3] == ["20.0 ± 10.0", "-10.0 ± 0.0"]
    assert rows_of(losses.changes(record))[1:] == [
        ["all: HD-LIF over LIF", "5.0 ± 5.0", "25.0 ± 15.0", "30.0 ± 0.0", "20.0 ± 0.0"]
    ]


def test_settings_of_delayed_xor_show_each_seed() -> None:
    record = {"rows": {"leak of 0.9": {"STBP": cell(1.0, 0.75, 0.5)}}}
    assert rows_of(neurons_and_rules.delayed_xor_settings(record))[1:] == [
        ["leak of 0.9", "100.0, 75.0, 50.0", "75.0 ± 25.0", "17,922", "12"]
    ]


def test_delays_by_rule_show_accuracy_seconds_and_memory() -> None:
    record = {"rows": {"STBP": {"100": cell(0.991), "1000": cell(0.5)}}, "undefined": {}}
    assert rows_of(neurons_and_rules.delays_by_rule(record))[1] == ["STBP", "99.1; 12, 30", "not run", "50.0; 12, 30"]


def test_confusions_are_counted_by_true_class() -> None:
    labels = [*series.ACTIVITIES, "lie to sit"]
    counts = [[10 * (i == j) for j in range(7)] for i in range(7)]
    sitting, standing = labels.index("sitting"), labels.index("standing")
    counts[standing][sitting], counts[sitting][standing], counts[6][0] = 4, 3, 2
    record = {"runs": [{"recipe": "hapt_hdlif", "labels": labels, "counts": counts}]}
    assert rows_of(series.hapt_confusions(record))[1] == ["hapt_hdlif", "9", "4", "3", "2", "89.6"]


def network(name: str, accuracy: float) -> dict[str, Any]:
    return {
        "name": name,
        "accuracy": accuracy,
        "accuracy_per_step": [0.5, accuracy],
        "validation_by_epoch": [0.4, 0.61, 0.7],
        "densities": {"act1": 0.25, "act2": 0.5},
    }


def test_demo_shows_accuracy_along_steps_and_epochs() -> None:
    record = {"networks": [network("lif", 0.9012)]}
    assert rows_of(demo.along(record)) == [
        ["network", "test %, steps 1 to 2", "validation %, epochs 1 to 3"],
        ["LIF fp32", "50.00, 90.12", "40.0, 61.0, 70.0"],
    ]
    assert rows_of(demo.densities(record)) == [["spike density", "layer 1", "layer 2"], ["LIF fp32", "25%", "50%"]]


def test_statistics_stand_side_by_side() -> None:
    by = {"shared": [0.35, 0.868], "per step": [0.9, 0.907], "as trained": [0.9, 0.906]}
    record = {"networks": [{"recipe": "fashion_mnist_lif", "accuracy_per_step": by}]}
    assert rows_of(demo.shared_statistics(record))[1] == ["LIF fp32", "35.0, 86.8", "90.0, 90.7", "90.0, 90.6"]


def test_streams_show_the_least_and_the_most_of_the_runs() -> None:
    def run(us: float) -> dict[str, Any]:
        each = dict.fromkeys(("p50", "p95", "p99"), us)
        way = {"sample_to_answer": each, "push": each, "share_of_a_core": us / 1e4}
        return {
            "apart": way,
            "overlapping_by_7_of_8": way,
            "command": way | {"as_it_says": each, "write_to_line": each},
        }

    found = rows_of(runtime.stream({"networks": {"hapt_hdlif.hdlif.safetensors": [run(64), run(104), run(80)]}}))
    assert found[0][-1] == "`hapt_hdlif`"
    assert found[1][1] == "64 to 104, 64 to 104, 64 to 104"
    assert found[3][1] == "0.64 to 1.04"
    assert found[6][1] == "0.06 to 0.10, 0.06 to 0.10"


def test_ranges_go_from_the_least_to_the_most() -> None:
    layers = [
        {"cosine": 0.99, "norm_ratio": 1.5},
        {"cosine": 0.98, "norm_ratio": 1.0},
        {"cosine": None, "norm_ratio": None},
    ]
    assert coherence._ranges(layers) == ("0.9800 … 0.9900", "1.00 … 1.50")


def test_setting_without_its_network_is_no_row() -> None:
    record = {"settings": {"seed 1": [{"neuron": "lif"}]}}
    assert coherence.setting_of(record, "seed 1", "lif")["neuron"] == "lif"
    with pytest.raises(ValueError, match="not enough"):
        coherence.setting_of(record, "seed 1", "hdlif")
