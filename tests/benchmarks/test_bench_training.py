"""The training benchmark: that what it compares computes the same, and that it writes what it says."""

import json
from pathlib import Path

import pytest
import torch

import bench_training
import training_tables
from hdlif.report.accounting import update_cost
from training_comparison import differences
from training_peers import PEERS, NaiveHDLIF, Neurons, parameter_counts
from training_rows import ROWS, Cell, Ours, Theirs, row_named, training_of
from training_tables import Figures, beside

NAIVE = "naive random step"
OF_LIBRARIES = [name for name in PEERS if name != NAIVE]
NETWORKS = ["resnet18", "vgg_snn"]
each_network = pytest.mark.parametrize("network", NETWORKS)
each_peer = pytest.mark.parametrize(
    "peer", [NAIVE, *(pytest.param(name, marks=pytest.mark.peers) for name in OF_LIBRARIES)]
)


@pytest.fixture(autouse=True)
def _with_libraries(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("peers"):
        pytest.importorskip("spikingjelly", reason="pip install spikingjelly")
        pytest.importorskip("snntorch", reason="pip install snntorch")


@each_network
@each_peer
def test_networks_of_the_same_weights_give_the_same_logits(peer: str, network: str) -> None:
    assert differences(peer, network) == []


@each_network
@each_peer
def test_another_threshold_is_a_difference(peer: str, network: str) -> None:
    threshold = 0.6 if peer == NAIVE else 1.1
    lines = differences(peer, network, Neurons(0.5, threshold))
    assert lines
    assert all(line.startswith(f"{peer}, {network}: logits in ") for line in lines)


@each_network
@each_peer
def test_networks_have_as_many_weights_of_each_kind(peer: str, network: str) -> None:
    cell = Cell(network, 1, 4)
    ours, theirs = (training_of(row, cell, 64, "cpu").network for row in (ROWS["HD-LIF STBP"], ROWS[peer]))
    counts = parameter_counts(ours)
    assert parameter_counts(theirs) == counts
    assert min(counts.values()) > 0
    # All that there is, but for λ and θ.
    of_neurons = sum(p.numel() for m in theirs.modules() if isinstance(m, NaiveHDLIF) for p in m.parameters())
    assert sum(p.numel() for p in theirs.parameters()) == sum(counts.values()) + of_neurons


@pytest.mark.parametrize("name", ["HD-LIF random step", "HD-LIF w1.5 s4 random step", "HD-LIF random window of 4"])
def test_an_update_runs_as_many_more_steps_as_its_last_step_is_later(name: str) -> None:
    training = training_of(ROWS[name], Cell("resnet18", 2, 6), 2, "cpu")
    assert isinstance(training, Ours)
    training.draw()
    costs = [update_cost(training.network, lambda plan=plan: training.update(plan)) for plan in training.plans()]
    window = 4 if "window" in name else 1
    assert [cost.forward_steps for cost in costs] == list(range(window, 7))
    assert {cost.backward_steps for cost in costs} == {window}


@pytest.mark.parametrize("peer", [NAIVE, pytest.param("SpikingJelly random step", marks=pytest.mark.peers)])
def test_a_peers_random_step_runs_no_step_behind_its_own(peer: str) -> None:
    training = training_of(ROWS[peer], Cell("resnet18", 2, 4), 2, "cpu")
    assert isinstance(training, Theirs)
    training.draw()
    passes: list[bool] = []
    training.network.register_forward_hook(lambda *arguments: passes.append(arguments[-1].requires_grad))
    for plan in training.plans():
        training.update(plan)
    assert passes == [True, False, True, False, False, True, False, False, False, True]


@each_network
@pytest.mark.parametrize(
    "name",
    [
        "HD-LIF random step, path steps, channels last",
        *(pytest.param(name, marks=[pytest.mark.peers] if name in OF_LIBRARIES else []) for name in ROWS),
    ],
)
def test_every_row_learns(name: str, network: str) -> None:
    training = training_of(row_named(name), Cell(network, 2, 2), 2, "cpu")
    training.draw()
    before = [parameter.detach().clone() for parameter in training.network.parameters()]
    for plan in training.plans():
        training.update(plan)
    changed = [not torch.equal(a, b) for a, b in zip(before, training.network.parameters(), strict=True)]
    assert all(changed)


def test_ratios_are_of_the_fastest_peer_in_the_same_round() -> None:
    figures = {
        "HD-LIF SLTT": Figures("HD-LIF SLTT", clock=[1.0, 2.0]),
        "LIF SLTT": Figures("LIF SLTT", clock=[2.0, 3.0]),
        "SpikingJelly STBP": Figures("SpikingJelly STBP", clock=[4.0, 9.0]),
        "snnTorch STBP": Figures("snnTorch STBP", clock=[5.0, 8.0]),
        NAIVE: Figures(NAIVE, failure="its process has ended (-9)"),
    }
    ratios = beside(figures, "clock")
    assert ratios["HD-LIF SLTT"] == {"fastest peer": [4.0, 4.0], "LIF": [2.0, 1.5]}
    assert ratios[NAIVE] == {}


def test_what_would_not_fit_is_not_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def peak(child: list[str], **_: object) -> int:
        # 10 MB, and 4 MB a step.
        return 6_000_000 + 4_000_000 * int(child[child.index("--time-steps") + 1])

    def never(name: str) -> bench_training.Worker:
        raise AssertionError(name)

    monkeypatch.setattr(bench_training, "in_fresh_processes", peak)
    monkeypatch.setattr(bench_training, "free_bytes", lambda device: 100_000_000)
    arguments = bench_training.parsed(["--rounds", "1"])
    cell, peaks = Cell("resnet18", 2, 64), bench_training.Peaks(arguments)
    figures = bench_training.measured(cell, ["LIF STBP"], never, peaks, arguments)
    assert figures["LIF STBP"].expected_bytes == 6_000_000 + 4_000_000 * 64
    assert "not run: 262 expected" in training_tables.table(cell, figures, "clock")
    arguments = bench_training.parsed(["--measure", "peak"])
    figures = bench_training.measured(cell, ["LIF SLTT"], never, peaks, arguments)
    assert figures["LIF SLTT"].expected_bytes is None
    assert figures["LIF SLTT"].peak_bytes is not None
    capsys.readouterr()


def test_nothing_is_timed_where_networks_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_training, "differences", lambda name, network: [f"{name}, {network}: by 0.3"])
    with pytest.raises(SystemExit) as raised:
        bench_training.main(["--networks", "resnet18", "--rows", NAIVE])
    # A text, with which Python prints it and ends with 1.
    assert str(raised.value.code).splitlines()[0] == "naive random step, resnet18: by 0.3"


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.peers
def test_a_run_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, rows = tmp_path / "training.json", ["HD-LIF random step", "LIF STBP", NAIVE, "SpikingJelly STBP"]
    sizes = ["--networks", "resnet18", "--width", "4", "--time-steps", "2", "--batch-sizes", "2"]
    counts = ["--rounds", "1", "--repeats", "1", "--threads", str(torch.get_num_threads())]
    bench_training.main([*sizes, *counts, "--rows", ";".join(rows), "--out", str(out)])
    record = json.loads(out.read_text())
    assert {key: record[key] for key in ("networks", "width", "batch_sizes", "time_steps", "rounds", "rows")} == {
        "networks": ["resnet18"],
        "width": 4,
        "batch_sizes": [2],
        "time_steps": [2],
        "rounds": 1,
        "rows": rows,
    }
    assert record["threads"] == torch.get_num_threads()
    assert record["device"] == "cpu"
    assert {"hdlif", "torch", "spikingjelly", "snntorch"} <= record["versions"].keys()
    assert "cpu" in record["hardware"]
    assert [cell["row"] for cell in record["cells"]] == rows
    for cell in record["cells"]:
        assert (cell["network"], cell["batch_size"], cell["time_steps"]) == ("resnet18", 2, 2)
        assert cell["failure"] is None
        assert cell["expected_bytes"] is None
        assert cell["peak_bytes"] > 0
        assert [len(cell[clock]) for clock in ("clock", "cpu")] == [1, 1]
        assert min(*cell["clock"], *cell["cpu"]) > 0
        assert (cell["density"] is None) == (cell["row"] in PEERS)
        for clock in ("clock", "cpu"):
            assert cell["beside"][clock].keys() == {"fastest peer", "naive"}
    shown = capsys.readouterr().out
    assert shown.startswith("resnet18, batch 2, T = 2")
    assert all(row in shown for row in rows)
