"""The benchmark of C on microcontrollers: instructions are counted, and CMSIS-NN computes the layers it is given."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bench_c
import cmsis_nn
from hdlif.deploy import lower
from hdlif.deploy.c.devices import installed
from hdlif.graph.artefact import load, save
from hdlif.recipe import builders, load_recipe


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' network with the weights that training begins with."""
    chosen = load_recipe("digits_hdlif_w1p5_s4_parallel", ["model.width=4"])
    torch.manual_seed(0)
    labels, record = builders.data_kind(chosen).labels, builders.input_record(chosen)
    network = builders.build_model(chosen).eval()
    path = tmp_path_factory.mktemp("digits") / "digits.hdlif.safetensors"
    save(lower(network, input=record, labels=labels, time_steps=chosen.time_steps), path)
    return path


@pytest.mark.slow
@pytest.mark.skipif("cortex-m4" not in installed(), reason="no tools for cortex-m4")
def test_steps_and_answers_are_counted_and_recorded(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.json"
    given = ["--data", "digits", "--samples", "2", "--devices", "cortex-m4", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["bench_c.py", str(artefact), *given])
    assert bench_c.main() == 0
    rows = json.loads(out.read_text())["devices"]["cortex-m4"]
    assert set(rows) == {"float", "fixed", "float, one call", "fixed, one call"}
    assert rows["fixed"]["answer"] == 4 * rows["fixed"]["mean"] <= 4 * rows["fixed"]["longest"]
    assert 0 < rows["fixed, one call"]["answer"] < rows["fixed"]["answer"]
    assert f"{rows['fixed']['answer']:,.0f}" in capsys.readouterr().out


LAYER = cmsis_nn.Layer(
    "convolve_wrapper",
    inputs=(1, 2, 1),
    outputs=(1, 2, 2),
    kernel=(1, 1),
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    weights=np.array([2, -1], np.int8).reshape(2, 1, 1, 1),
    bias=np.array([0, 300], np.int32),
    multiplier=np.array([2**30, 2**30], np.int32),
    shift=np.array([0, -1], np.int32),
)
"""y = 2 (x + 128) / 2 - 128, and (300 - (x + 128)) / 4 - 128."""


def test_layers_scale_and_round_as_by_hand() -> None:
    x = np.array([-128, -98], np.int8).reshape(1, 2, 1)
    # (300 - 30) / 2 = 135, and 67.5 is rounded away from 0
    assert cmsis_nn.outputs_of(LAYER, x).tolist() == [[[-128, -53], [-98, -60]]]
    pool = replace(LAYER, op="avgpool", outputs=(1, 1, 1), kernel=(1, 2))
    assert cmsis_nn.outputs_of(pool, np.array([[[-4], [-3]]], np.int8)).tolist() == [[[-4]]]
    assert cmsis_nn.outputs_of(replace(pool, op="max_pool"), np.array([[[-4], [-3]]], np.int8)).tolist() == [[[-3]]]


@pytest.mark.slow
@pytest.mark.parametrize("device", bench_c.DEVICES)
def test_cmsis_nn_computes_the_layers(
    device: str, artefact: Path, cmsis_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device not in installed():
        pytest.skip(f"no tools for {device}")
    graph = load(artefact)
    variables = cmsis_nn.make_variables(cmsis_checkout, device)

    def count() -> float:
        program = bench_c.peer(graph)
        return bench_c.instructions(program, device, 1, variables)["mean"]

    assert count() > 0
    outputs = cmsis_nn.outputs_of
    monkeypatch.setattr(cmsis_nn, "outputs_of", lambda layer, x: outputs(layer, x) ^ np.int8(layer.op == "avgpool"))
    with pytest.raises(SystemExit, match=r"layer 9 differs"):
        count()


def test_a_folder_without_the_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has no Include/arm_nnfunctions.h; give a checkout of https://"):
        cmsis_nn.make_variables(tmp_path, "cortex-m4")
