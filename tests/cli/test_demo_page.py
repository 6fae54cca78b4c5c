"""`hdlif demo --page` writes a page of the network that it deploys."""

import base64
import gzip
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hdlif.cli import cli
from hdlif.cli import demo as demo_module
from hdlif.deploy import browser as wasm


@pytest.mark.slow
def test_the_page_has_the_network_of_the_demo_and_is_under_300_kb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the last one is what is deployed
    monkeypatch.setattr(demo_module, "NETWORKS", demo_module.NETWORKS[-1:])
    monkeypatch.setattr("hdlif.cli.training_run.measure_peak", lambda one, folder, repeats, bar: one)
    out = tmp_path / "demo"
    said = CliRunner().invoke(cli, ["demo", "--out", str(out), "--page"], catch_exceptions=False)
    assert said.output.splitlines()[-2:] == [str(out / "report.html"), str(out / "live.html")]
    page = (out / "live.html").read_text("utf-8")
    assert len(page.encode()) < 300_000
    held = dict(re.findall(r'<script type="application/octet-stream" id="(\w+)">([\w+/=]+)</script>', page))
    assert gzip.decompress(base64.b64decode(held["module"])) == wasm.module()
    (artefact,) = out.glob("*.hdlif.safetensors")
    assert gzip.decompress(base64.b64decode(held["artefact"])) == artefact.read_bytes()
