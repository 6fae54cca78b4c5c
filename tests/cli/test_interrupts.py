"""However many SIGINTs come, and whenever: exit code 130, and no traceback."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cases import every
from deployed_graphs import residual_network
from hdlif.graph.artefact import save

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
# Interrupts are taken from the first line of the program on; what came before would be the interpreter's own affair.
START = """
import hdlif.__main__ as program
of_program = program._command_line

def command_line():
    print("up", flush=True)
    return of_program()

program._command_line = command_line
program.program()
"""


def storm(arguments: list[str], *, seed: int, length: float, folder: Path) -> tuple[int, str]:
    """The exit code, and what standard error has, of a command that gets up to 200 SIGINTs from some moment on."""
    draw = random.Random(seed)
    with (folder / "err").open("w+") as err:
        command = [sys.executable, "-c", START, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, env=ENVIRONMENT, cwd=folder)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(draw.random() * length)
        for _ in range(200):
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGINT)
            time.sleep(draw.choice((0, 0, 0.0005, 0.005, 0.02)))
        process.stdout.read()
        code = process.wait(60)
        err.seek(0)
        return code, err.read()


def assert_quiet_end(code: int, err: str) -> None:
    # 0 where it was done before the first came.
    assert code in (130, 0), (code, err)
    for word in ("Traceback", "Exception ignored", "Error", "terminate called"):
        assert word not in err, err


def test_storm_over_a_short_command(tmp_path: Path) -> None:
    for seed in range(2):
        assert_quiet_end(*storm(["recipes", "ls"], seed=seed, length=0.2, folder=tmp_path))
    code, err = storm(["recipes", "check"], seed=0, length=0, folder=tmp_path)
    assert (code, err.strip()) == (130, "interrupted")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_storms_over_short_commands(seed: int, tmp_path: Path) -> None:
    assert_quiet_end(*storm(["recipes", "ls"], seed=100 + seed, length=0.3, folder=tmp_path))
    save(residual_network(), tmp_path / "net")
    np.save(tmp_path / "x.npy", np.zeros((3, 9, 7), np.uint8))
    assert_quiet_end(*storm(["run", "net", *["x.npy"] * 2000], seed=seed, length=1.0, folder=tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_storms_over_a_training(seed: int, tmp_path: Path) -> None:
    settings = ["model.width=4", "model.blocks=[1]", "training.epochs=3", "data.batch_size=256"]
    options = [word for setting in settings for word in ("--set", setting)]
    arguments = ["train", "digits_hdlif", *options, "--out", "out", "--memory-repeats", "1"]
    assert_quiet_end(*storm(arguments, seed=seed, length=12.0, folder=tmp_path))


CLEANING = """
import sys, time
import hdlif.__main__ as program
from hdlif import cli

def failing(*_, **__):
    try:
        print("up", flush=True)
        time.sleep(60)
    finally:
        end = time.monotonic() + {seconds}
        while time.monotonic() < end:
            time.sleep(0.01)
        print("cleaned", flush=True)

from hdlif.cli import recipes
recipes.COMMAND.commands["ls"].callback = failing
program.program()
"""


@pytest.mark.parametrize(("seconds", "cleaned"), [(0.5, True), (60, False)])
def test_what_is_cleaned_up_is_not_cut_short_unless_it_takes_too_long(seconds: float, cleaned: bool) -> None:
    command = [sys.executable, "-c", CLEANING.format(seconds=seconds), "recipes", "ls"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "cleaned\n" if cleaned else "", "interrupted")


INTERRUPT = "os.kill(os.getpid(), signal.SIGINT); [0 for _ in range(1000)]"
OUTSIDE = """
program._command_line = lambda: 0

def end(self, end=program.Interrupts.end):
    {after}
    end(self)

def hear(self, hear=program.Interrupts.hear):
    hear(self)
    {before}

program.Interrupts.end, program.Interrupts.hear = end, hear
program.program()
"""
SWALLOWED = f"""
program.Interrupts().hear()

class Late:
    def __del__(self):
        {INTERRUPT}

late = Late()
del late
print("went on")
"""
IGNORED = f"""
signal.signal(signal.SIGINT, signal.SIG_IGN)
program.Interrupts().hear()
{INTERRUPT}
print("went on")
"""
INTERRUPTED = (130, "", "interrupted\n")
CASES = [
    # Before the command line, after it, and in a finalizer, where Python swallows it.
    (OUTSIDE.format(before=INTERRUPT, after="pass"), INTERRUPTED),
    (OUTSIDE.format(before="pass", after=INTERRUPT), INTERRUPTED),
    (SWALLOWED, INTERRUPTED),
    (IGNORED, (0, "went on\n", "")),
]


@every("code", "expected", of=CASES)
def test_an_interrupt_outside_of_the_command_line_is_said_too_unless_it_is_ignored(
    code: str, expected: tuple[int, str, str]
) -> None:
    program = f"import os, signal, hdlif.__main__ as program\n{code}"
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == expected
