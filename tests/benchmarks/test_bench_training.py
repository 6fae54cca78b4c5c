"""The training benchmark: that what it compares computes the same, and that it writes what it says."""

import json
from pathlib import Path

import pytest
import torch

import bench_training
from cases import every, sampled
from hdlif.report.accounting import update_cost
from training_comparison import differences
from training_peers import PEERS, NaiveHDLIF, Neurons, parameter_counts
from training_rows import RECIPES, ROWS, TIMED, Cell, Ours, Theirs, row_named, training_of
from training_tables import Figures, beside

NAIVE = "naive random step"
OF_LIBRARIES = [name for name in PEERS if name != NAIVE]
each_peer = pytest.mark.parametrize(
    "peer", [NAIVE, *(pytest.param(name, marks=pytest.mark.peers) for name in OF_LIBRARIES)]
)


@pytest.fixture(autouse=True)
def _with_libraries(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("peers"):
        pytest.importorskip("spikingjelly", reason="pip install spikingjelly")
        pytest.importorskip("snntorch", reason="pip install snntorch")


@each_peer
@pytest.mark.parametrize("network", RECIPES)
def test_a_peers_network_has_our_weights_and_logits_and_no_others(peer: str, network: str) -> None:
    assert differences(peer, network) == []
    # Another threshold is a difference.
    assert differences(peer, network, Neurons(0.5, 0.6 if peer == NAIVE else 1.1))
    cell = Cell(network, 1, 4)
    ours, theirs = (training_of(row, cell, 64).network for row in (ROWS["HD-LIF STBP"], ROWS[peer]))
    counts = parameter_counts(ours)
    assert parameter_counts(theirs) == counts
    assert [kind for kind, count in counts.items() if not count] == (["linear layers"] if network == "unet" else [])
    # All that there is, but for λ and θ.
    of_neurons = sum(p.numel() for m in theirs.modules() if isinstance(m, NaiveHDLIF) for p in m.parameters())
    assert sum(p.numel() for p in theirs.parameters()) == sum(counts.values()) + of_neurons


@pytest.mark.parametrize("name", ["HD-LIF random step", "HD-LIF w1.5 s4 random step", "HD-LIF random window of 4"])
def test_an_update_runs_as_many_more_steps_as_its_last_step_is_later(name: str) -> None:
    training = training_of(ROWS[name], Cell("resnet18", 2, 6), 2)
    assert isinstance(training, Ours)
    training.draw()
    costs = [update_cost(training.network, lambda plan=plan: training.update(plan)) for plan in training.plans()]
    window = 4 if "window" in name else 1
    assert [cost.forward_steps for cost in costs] == list(range(window, 7))
    assert {cost.backward_steps for cost in costs} == {window}


@pytest.mark.parametrize("peer", [NAIVE, pytest.param("SpikingJelly random step", marks=pytest.mark.peers)])
def test_a_peers_random_step_runs_no_step_after_its_own(peer: str) -> None:
    training = training_of(ROWS[peer], Cell("resnet18", 2, 4), 2)
    assert isinstance(training, Theirs)
    training.draw()
    passes: list[bool] = []
    training.network.register_forward_hook(lambda *arguments: passes.append(arguments[-1].requires_grad))
    for plan in training.plans():
        training.update(plan)
    assert passes == [True, False, True, False, False, True, False, False, False, True]


VARIED = ["HD-LIF random step, path steps, channels last", "HD-LIF STBP, bf16", f"{NAIVE}, bf16"]
OURS = [*VARIED, *(name for name in ROWS if name not in OF_LIBRARIES)]


@sampled(len(OURS), name=OURS, network=TIMED)
def test_every_row_of_ours_learns(name: str, network: str) -> None:
    assert_learns(name, network)


@pytest.mark.peers
@every(name=OF_LIBRARIES, network=TIMED)
def test_every_row_of_libraries_learns(name: str, network: str) -> None:
    assert_learns(name, network)


def assert_learns(name: str, network: str) -> None:
    training = training_of(row_named(name), Cell(network, 2, 2), 2)
    training.draw()
    before = [parameter.detach().clone() for parameter in training.network.parameters()]
    for plan in training.plans():
        training.update(plan)
    assert all(not torch.equal(a, b) for a, b in zip(before, training.network.parameters(), strict=True))


def test_ratios_are_of_the_fastest_peer_in_the_same_round() -> None:
    figures = {
        "HD-LIF SLTT": Figures("HD-LIF SLTT", clock=[1.0, 2.0]),
        "LIF SLTT": Figures("LIF SLTT", clock=[2.0, 3.0]),
        "SpikingJelly STBP": Figures("SpikingJelly STBP", clock=[4.0, 9.0]),
        "snnTorch STBP": Figures("snnTorch STBP", clock=[5.0, 8.0]),
        "snnTorch STBP, bf16": Figures("snnTorch STBP, bf16", clock=[6.0, 7.0]),
        NAIVE: Figures(NAIVE, failure="its process has ended (-9)"),
    }
    ratios = beside(figures, "clock")
    assert ratios["HD-LIF SLTT"] == {"fastest peer": [4.0, 3.5], "LIF": [2.0, 1.5]}
    assert ratios[NAIVE] == {}


def test_nothing_is_timed_where_networks_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_training, "differences", lambda name, network: [f"{name}, {network}: by 0.3"])
    with pytest.raises(SystemExit, match=NAIVE):
        bench_training.main(["--networks", "resnet18", "--rows", NAIVE])


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.peers
def test_a_run_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, rows = tmp_path / "training.json", ["HD-LIF random step", "LIF STBP", NAIVE, "SpikingJelly STBP"]
    sizes = ["--networks", "resnet18", "--width", "4", "--time-steps", "2", "--batch-sizes", "2", "--rounds", "1"]
    bench_training.main([*sizes, "--rows", ";".join(rows), "--out", str(out)])
    record = json.loads(out.read_text())
    assert (record["width"], record["rows"], record["threads"]) == (4, rows, torch.get_num_threads())
    assert {"hdlif", "torch", "spikingjelly", "snntorch"} <= record["versions"].keys()
    assert [cell["row"] for cell in record["cells"]] == rows
    for cell in record["cells"]:
        assert (cell["network"], cell["batch_size"], cell["time_steps"]) == ("resnet18", 2, 2)
        assert cell["failure"] is None
        assert [len(cell[clock]) for clock in ("clock", "cpu")] == [1, 1]
        assert min(*cell["clock"], *cell["cpu"]) > 0
        assert (cell["density"] is None) == (cell["row"] in PEERS)
        assert all(cell["beside"][clock].keys() == {"fastest peer", "naive"} for clock in ("clock", "cpu"))
    shown = capsys.readouterr().out
    assert all(row in shown for row in rows)
