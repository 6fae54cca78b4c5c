"""What reaches a terminal or a pipe: one printable line for an error, nothing that a terminal acts on, no traceback."""

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np
import pytest

import hdlif as package
from command_line import hdlif
from command_tree import COMMANDS, LEAVES
from deployed_graphs import residual_network
from hdlif import errors
from hdlif.cli.program import OF_ERRORS, OF_SUBCOMMANDS, page_of
from hdlif.errors import DataError, HdlifError, InputError, RecipeError, printable, printable_lines
from hdlif.graph.artefact import save
from hdlif.inputs.plain_yaml import recipe_fields
from hdlif.recipe import ALIASES, load_recipe
from hdlif.recipe.builders import RULES
from hdlif.report.tables import aligned
from hdlif.training.metrics import progress_bar, warn
from resource_limits import within_seconds
from special_files import special_files

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\x7f\u202ecod.exe\u2028\ud800"


def child(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, "-m", "hdlif", *map(str, arguments)], text=True, timeout=100, **piped)


def assert_printable_lines(text: str) -> None:
    assert all(line.isprintable() for line in text.split("\n")), ascii(text)


def test_every_character_is_printed_or_escaped_and_escapes_are_pythons() -> None:
    everything = "".join(map(chr, range(0x110000)))
    assert printable(everything).isprintable()
    assert printable("aéλ—") == "aéλ—"
    assert printable("\x1b\x00\x85\u202e\ud800\n\t") == r"\x1b\x00\x85\u202e\ud800\n\t"
    assert printable_lines("a\n\x1b\n") == "a\n\\x1b\n"


def raising(error: Exception) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def subclasses(kind: type[HdlifError]) -> Iterator[type[HdlifError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


def test_every_error_is_one_printable_line_and_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in subclasses(HdlifError):
        raised = kind(f"{HOSTILE}: is not a recipe")
        monkeypatch.setattr("hdlif.cli.recipes.shipped_recipes", raising(raised))
        done, page = hdlif("recipes", "ls"), page_of("recipes", kind())
        assert kind.__module__ == errors.__name__ or issubclass(kind, InputError), kind
        assert done.returncode == kind.exit_code, kind
        ending = f" ({page})" if page else ""
        assert done.stderr == f"{kind.__name__}: {printable(HOSTILE)}: is not a recipe{ending}\n"


def test_what_the_machine_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, words in (
        (OSError(28, "No space left on device"), "MachineError: cannot be read or written (No space left on device)"),
        (PermissionError(13, "Permission denied", "x\x1by"), r"x\x1by: cannot be read or written (Permission denied)"),
        (MemoryError(), "MachineError: there is not enough memory"),
        (RuntimeError("can't start new thread"), "MachineError: there is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "MachineError: there is not enough memory"),
        (ImportError("a.so: failed\nto map"), r"a library cannot be loaded (a.so: failed\nto map); raise the limit"),
        (ModuleNotFoundError("no", name="a\nb"), r"MissingExtraError: a\nb is not installed"),
    ):
        monkeypatch.setattr("hdlif.cli.recipes.shipped_recipes", raising(error))
        done = hdlif("recipes", "ls")
        assert (done.returncode in (1, 2), words in done.stderr, done.stderr[:-1].isprintable()) == (True, True, True)
        with pytest.raises(type(error)):
            hdlif("--debug", "recipes", "ls")
    # The end of a file within a command is a fault, and no interrupt.
    monkeypatch.setattr("hdlif.cli.recipes.shipped_recipes", raising(EOFError("a fault")))
    with pytest.raises(EOFError, match="a fault"):
        hdlif("recipes", "ls")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold a process to RLIMIT_AS")
def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    save(residual_network(), tmp_path / "net")
    np.save(tmp_path / "x.npy", np.zeros((3, 9, 7), np.uint8))
    run, train = ["run", str(tmp_path / "net"), str(tmp_path / "x.npy")], ["train", "digits_hdlif"]
    # The command line, NumPy, and PyTorch do not fit.
    for most, command in ((17, ["--help"]), (30, run), (60, run), (300, train)):
        done = child(*command, preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, (most << 20, most << 20)))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), (most, done.stderr)
        assert re.search(r"memory.*; |cannot be loaded.*; ", done.stderr)


def test_labels_and_file_names_are_escaped(tmp_path: Path) -> None:
    # A graph's labels must be text that a file can hold; a surrogate is none.
    label = HOSTILE[:-1]
    save(replace(residual_network(), labels=tuple(f"{label}{i}" for i in range(3))), tmp_path / "net")
    path = tmp_path / "in\x1b[2J\nput.npy"
    np.save(path, np.zeros((3, 9, 7), np.uint8))
    done = hdlif("run", tmp_path / "net", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert printable(label) in done.stdout
    assert_printable_lines(done.stdout)
    as_json = hdlif("run", tmp_path / "net", path, "--json")
    assert as_json.stdout[:-1].isprintable()
    assert as_json.stdout.isascii()
    (result,) = json.loads(as_json.stdout)["inputs"]
    assert result["input"] == str(path)
    assert result["label"].startswith(label)


def test_what_strangers_name_does_not_break_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = aligned(["x", HOSTILE], [[HOSTILE, "1"]])
    assert len(table.split("\n")) == 3
    assert_printable_lines(table)
    for arguments in ([HOSTILE], ["recipes", HOSTILE], ["run", f"--{HOSTILE}"], ["train", "x", "--seeds", HOSTILE]):
        done = hdlif(*arguments)
        assert done.returncode == 2
        assert_printable_lines(done.stderr)
    for terminal in (False, True):
        if terminal:
            # As Rich knows one where there is none.
            monkeypatch.setenv("TERM", "xterm")
            monkeypatch.setenv("FORCE_COLOR", "1")
        with progress_bar(enabled=True) as bar:
            bar.add_task("a[/b][red]c", total=1, loss=0.0, accuracy=0.0)
            warn(bar, HOSTILE)
        printed = capsys.readouterr().err
        assert ("[/b][red]c" in printed, "\x1b]0;" in printed) == (terminal, False)
        assert printable(HOSTILE) in printed
        # A bar leaves nothing in a file.
        assert terminal or printed == f"warning: {printable(HOSTILE)}\n"


def test_only_these_functions_print() -> None:
    root = Path(package.__file__).parent
    calls = re.compile(r"click\.s?echo\(|console\.(print|log)\(|(?<![\w.])print\(|sys\.std(out|err)\.write")
    examples = re.compile(r"^ *(>>>|\.\.\.) .*", re.MULTILINE)
    code = {path.relative_to(root): examples.sub("", path.read_text()) for path in root.rglob("*.py")}
    found = {f"{path}:{len(calls.findall(text))}" for path, text in code.items() if calls.search(text)}
    # The child processes' own protocols are no terminal's.
    assert {"cli/output.py:2", "training/metrics.py:1"} <= found
    others = {place.partition(":")[0] for place in found} - {"cli/output.py", "training/metrics.py"}
    children = ("convolutions", "engines", "peak_memory", "small_graphs", "training_kernels")
    assert others <= {f"report/{name}.py" for name in children}, others


def test_no_argument_of_any_command_may_hold_a_nul() -> None:
    seen = 0
    for name, command in LEAVES.items():
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                given: list[str] = ["a\0b"]
            elif isinstance(parameter, click.Option) and not parameter.is_flag:
                given = [parameter.opts[0], "a\0b"]
            else:
                continue
            seen += 1
            done = hdlif(*name.split(), *given)
            assert (done.returncode, "NUL character" in done.stderr) == (2, True), (name, given)
    assert seen > 40


def test_paths_at_which_nothing_readable_lies_are_refused_at_once(tmp_path: Path) -> None:
    files = special_files(tmp_path, "")
    commands = ("eval", "export", "run", "bench", "profile", "report")
    cases = [(one, kind) for one in commands for kind in ("loop", "long", "below a file", "escape", "surrogate")]
    cases += [(one, kind) for one in ("run", "bench") for kind in ("fifo", "endless", "socket")]
    for command, kind in cases:
        path = files[kind]
        more = {"export": ["--out", tmp_path / "x"], "run": [path]}.get(command, [])
        with within_seconds(20):
            done = hdlif(command, path, *more)
        assert done.returncode in (1, 2), (command, kind, done.stderr)
        assert done.stderr[:-1].isprintable(), (command, kind)


FULL = Path("/dev/full")
WAYS = [["recipes", "ls"], ["run", "--help"], ["--version"]]
"""What prints: a result, click, and the version."""


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_output_that_cannot_be_written_is_one_line_and_1() -> None:
    for arguments in WAYS:
        with FULL.open("w") as full:
            done = child(*arguments, stdout=full)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), arguments
        assert done.stderr.startswith("OutputError: standard output cannot be written (No space left on device)")
    # A reader that has gone is no error to talk about.
    reading, writing = os.pipe()
    os.close(reading)
    done = child("run", "--help", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
    done = child("--version", stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr.startswith("OutputError: standard output is closed")) == (1, True)
    # Nothing fails where standard error is full.
    with FULL.open("w") as full:
        done = child("recipes", "show", "nothing", stderr=full)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_terminal_of_few_characters_gets_the_rest_escaped() -> None:
    code = "from hdlif import cli; cli.show({}, False, lambda: 'energy (µJ) — …')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "energy (\\xb5J) \\u2014 \\u2026\n"


def test_an_error_ends_with_the_page_that_helps() -> None:
    for page in {*OF_ERRORS.values(), *OF_SUBCOMMANDS.values()}:
        assert (Path(__file__).parents[2] / page).is_file(), page
    assert {verb for verb, _ in OF_SUBCOMMANDS} <= COMMANDS.keys()
    # A subcommand's page goes before the error's, and a message that names a page gets no other.
    for subcommand, error, page in (
        ("data get", DataError("x"), "docs/how_to/datasets.md"),
        ("train", InputError("x"), None),
        ("train", RecipeError("see docs/how_to/serving.md"), None),
    ):
        assert page_of(subcommand, error) == page
    for line, ending in (
        ("train nothing", "(docs/reference/recipes.md)\n"),
        ("import nothing --out x", "(docs/how_to/nir.md)\n"),
    ):
        done = hdlif(*line.split())
        assert (done.returncode, done.stderr.count("\n"), done.stderr.endswith(ending)) == (2, 1, True), done.stderr


def test_an_unknown_option_is_named_where_recipes_cannot_be_read() -> None:
    code = "import sys; sys.modules['pydantic'] = None; from hdlif.cli import main; main()"
    for words in (["run", "--foo", "x"], ["export", "x", "--epochs", "3"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert f"No such option '{words[-2]}'" in done.stderr


def test_an_option_that_is_a_key_of_the_recipe_is_answered_with_set() -> None:
    for options, works in (
        ("--epochs 3", "--set training.epochs=3"),
        ("--epochs=3", "--set training.epochs=3"),
        ("--epochs", "--set training.epochs=VALUE"),
        ("--lr 0.1", "--set training.learning_rate=0.1"),
        ("--T 2", "--set time_steps=2"),
        ("--rule sltt", '--set "rule={kind: sltt}"'),
    ):
        for verb in ("train", "recipes check"):
            done = hdlif(*verb.split(), "digits_hdlif", *options.split())
            assert done.returncode == 2
            assert done.stderr.endswith(f"A recipe's values are set by {works}.\n"), options
        if "VALUE" not in works:
            load_recipe("digits_hdlif", [shlex.split(works)[1]])
    assert "set by --set data.size=16." in hdlif("eval", "runs/x", "--size", "16").stderr
    # No key, or a subcommand that sets none.
    for line in ("train digits_hdlif --colour 3", "run a.hdlif.safetensors x.png --epochs 3", "eval runs/x --epochs 3"):
        assert "set by" not in hdlif(*line.split()).stderr
    # A part without its section is told the kinds and the form.
    said = hdlif("train", "digits_hdlif", "--set", "rule=sltt").stderr
    assert '--set "rule={kind: sltt}" in a shell' in said
    assert f"; kind is one of {', '.join(sorted(RULES))} (docs/" in said
    assert "kind is one of" not in hdlif("train", "digits_hdlif", "--set", "data=3").stderr
    assert set(ALIASES.values()) <= recipe_fields(load_recipe("digits_hdlif").model_dump()).keys()
