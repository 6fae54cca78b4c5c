"""`hdlif doctor` and a training on a processor with AVX2 alone, which QEMU emulates instruction by instruction."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

QEMU = shutil.which("qemu-x86_64")
MODEL = "Haswell"
"""The first with AVX2, and FMA, without which PyTorch does not start its vectorised kernels."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None or os.uname().machine != "x86_64", reason="needs qemu-x86_64 (qemu-user)"),
]


@pytest.fixture
def emulated(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs `hdlif` with `--json` on the emulated processor, and gives what it prints."""
    # What a process starts is run by the real processor, unless it starts this.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {QEMU} -cpu {MODEL} {sys.executable} "$@"\n')
    python.chmod(0o755)

    def run(*arguments: str) -> dict[str, Any]:
        words = ["hdlif", *arguments, "--json"]
        source = (
            f"import sys; sys.executable, sys.argv = {str(python)!r}, {words!r}; from hdlif.cli import main; main()"
        )
        done = subprocess.run([python, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


def test_doctor_finds_an_emulated_avx2_machine_sound(emulated: Callable[..., dict[str, Any]]) -> None:
    result = emulated("doctor")
    assert result["faults"] == 0
    assert result["hardware"]["chosen"] == {"runtime": "avx2", "PyTorch": "AVX2", "oneDNN": "Intel AVX2"}
    checks = {check["name"]: check for check in result["checks"]}
    assert checks["runtime, avx2"]["status"] == "ok"
    # As many shapes as there is time for.
    assert "are right" in checks["gradients, channels last"]["detail"]


def test_a_training_on_an_emulated_avx2_machine(emulated: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    narrow = ["model.width=4", "training.channels_last=true", "training.epochs=1", "data.train=256"]
    settings = [word for setting in narrow for word in ("--set", setting)]
    result = emulated("train", "digits_hdlif", *settings, "--memory-repeats", "0", "--out", "run")
    assert 0 <= result["accuracy"] <= 1
    assert (tmp_path / "run" / "model.safetensors").exists()
