"""Convolutions of codes, timed: what is timed is checked first, and the record says what was measured."""

import json
from pathlib import Path

import pytest
import torch

import bench_code_conv
from bench_code_conv import PARTS, Layer
from single_thread import one_thread  # noqa: F401 - an autouse fixture


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_codes_are_as_many_as_was_asked_for_and_compute_what_pytorch_does(share: float) -> None:
    layer = Layer(16, 12, share, 4, "")
    assert layer.share == pytest.approx(share, abs=0.03)
    layer.check()
    for ours, theirs in zip(layer.kernels(), layer.pytorch(1), strict=False):
        assert ours == theirs


def test_what_computes_something_else_is_not_timed() -> None:
    layer = Layer(8, 5, 0.2, 2, "")
    layer.scale = layer.scale * 1.001
    with pytest.raises(SystemExit, match="nothing is timed"):
        layer.check()
    layer = Layer(8, 5, 0.2, 2, "")
    layer.dy = layer.dy.clone()
    backward = layer.backward

    def off(*, weights: bool, inputs: bool) -> None:
        backward(weights=weights, inputs=inputs)
        layer.dw[0, 0, 0, 0] += layer.dw.abs().max()

    layer.backward = off  # type: ignore[method-assign]
    with pytest.raises(SystemExit, match="nothing is timed"):
        layer.check()


def test_the_record_has_every_layer_share_and_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "record.json"
    arguments = ["--layers", "8x5,16x3", "--shares", "0.2,0.3", "--batch-size", "2", "--rounds", "3", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["bench_code_conv.py", *arguments])
    bench_code_conv.main()
    record = json.loads(out.read_text())
    assert [(one["channels"], one["side"]) for one in record["results"]] == [(8, 5), (8, 5), (16, 3), (16, 3)]
    for one in record["results"]:
        assert one["pack"]["kernels_ms"]["median"] > 0
        for part in PARTS:
            assert (
                one[part]["kernels_ms"]["low"] <= one[part]["kernels_ms"]["median"] <= one[part]["kernels_ms"]["high"]
            )
            assert one[part]["ratio"]["median"] > 0
            assert one[part]["layout"] in ("contiguous_format", "channels_last")
    assert (record["rounds"], record["threads"]) == (3, torch.get_num_threads())
