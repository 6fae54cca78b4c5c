"""Run a fuzz target: `python tests/fuzz/fuzz_NAME.py --seconds N [--corpus DIR]`, or `--replay FILE...`.

A target is a function of bytes. Whatever they are, it returns; an exception, a crash, a time or a memory beyond the
limits is a finding. A finding is written to the corpus, whose files `tests/fuzz/test_corpus.py` replays: so it stays
as a regression test. A target file is

    import driver
    from hdlif.graph.artefact import loads

    def target(data: bytes) -> None:
        with driver.may_refuse():
            loads(data, "fuzzed")

    if __name__ == "__main__":
        driver.main(target, "artefact")

Where `atheris` is installed, it guides the mutations by coverage; else a seeded mutator draws from the corpus.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import random
import resource
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

# Targets share helper modules with the tests.
sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile import one_printable_line
from mutations import BOUNDARIES

Target = Callable[[bytes], None]
Mutator = Callable[[bytes, random.Random], bytes]
CORPUS = Path(__file__).parent / "corpus"


@contextlib.contextmanager
def may_refuse() -> Iterator[None]:
    """Let through what `hdlif` refuses on purpose, with a message of one printable line."""
    from hdlif.errors import HdlifError

    try:
        yield
    except HdlifError as error:
        one_printable_line(error)


def put_in(words: Sequence[bytes]) -> Mutator:
    """Return a mutation that puts one of the words in, once or twice, in place of some bytes."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        at = draw.randint(0, len(data))
        return data[:at] + draw.choice(words) * draw.choice((1, 1, 2)) + data[at + draw.choice((0, 0, 1, 3)) :]

    return mutate


def main(target: Target, name: str, *, seeds: Iterable[bytes] = (), mutate: Mutator | None = None) -> None:
    """Fuzz `target` for some time, or replay files; exit with 1 after a finding.

    Args:
        target: takes any bytes; an exception is a finding.
        name: the corpus is `tests/fuzz/corpus/NAME`.
        seeds: what to begin with beside the corpus.
        mutate: a mutation that knows the form of the bytes; it takes turns with those that do not.
    """
    parser = argparse.ArgumentParser(description=f"Fuzz {name}.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, default=CORPUS / name, help="seeds, and where findings go")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=10, help="seconds for one input (default: %(default)s)")
    parser.add_argument("--memory-mb", type=int, default=1024, help="beyond what is loaded (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="do without atheris")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="run these inputs, and nothing else")
    arguments = parser.parse_args()
    limits = (arguments.timeout, arguments.memory_mb)
    if arguments.replay:
        sys.exit(replay(target, arguments.replay, *limits))
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    start = [*seeds, *(path.read_bytes() for path in sorted(arguments.corpus.iterdir()))] or [b""]
    fuzz = _fuzz_at_random if arguments.plain or importlib.util.find_spec("atheris") is None else _fuzz_by_coverage

    def begin(current: Path) -> None:
        for data in start:
            _run_one(target, data, current, arguments.timeout)

    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        sys.exit(_kept(begin, arguments) or fuzz(target, start, mutate, arguments, Path(folder)))


def _fuzz_by_coverage(
    target: Target, start: Sequence[bytes], mutate: Mutator | None, arguments: argparse.Namespace, folder: Path
) -> int:
    # libFuzzer writes what it finds interesting into its first folder; the corpus is to hold findings alone
    for data in start:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
    resident_mb = _pages(1) * resource.getpagesize() // 10**6
    flags = [
        f"-max_total_time={max(1, int(arguments.seconds))}",
        f"-timeout={max(1, int(arguments.timeout))}",
        f"-rss_limit_mb={resident_mb + arguments.memory_mb}",
        f"-seed={arguments.seed + 1}",
        f"-artifact_prefix={arguments.corpus}/found_",
        f"-max_len={max(4096, 2 * max(map(len, start)))}",
        "-print_final_stats=1",
        "-verbosity=0",
    ]

    def fuzz() -> None:
        import atheris

        def mutate_in_turn(data: bytes, max_size: int, seed: int) -> bytes:
            if mutate is None or seed % 2:
                return atheris.Mutate(data, max_size)
            return mutate(data, random.Random(seed))[:max_size]

        _instrument(atheris.instrument_func)
        atheris.Setup([sys.argv[0], *flags, str(folder)], target, custom_mutator=mutate_in_turn)
        atheris.Fuzz()

    # in a child process, for it ends the one that it runs in
    status = _in_child(fuzz)
    if status:
        print(f"a finding, above; replay what is in {arguments.corpus} with --replay")
    return int(status != 0)


def _instrument(instrument: Callable[[types.FunctionType], object]) -> None:
    """Count the branches of every function of `hdlif` that is loaded.

    Not by atheris's import hook: it does not see into an editable install.
    """
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "hdlif":
            owners = [module, *(value for value in vars(module).values() if isinstance(value, type))]
            for value in [value for owner in owners for value in vars(owner).values()]:
                function = getattr(value, "__func__", value)
                if isinstance(function, types.FunctionType) and function.__module__ == name:
                    instrument(function)


def _fuzz_at_random(
    target: Target, start: Sequence[bytes], mutate: Mutator | None, arguments: argparse.Namespace, folder: Path
) -> int:
    def fuzz(current: Path) -> None:
        draw, end, count = random.Random(arguments.seed), time.monotonic() + arguments.seconds, 0
        while time.monotonic() < end:
            data = draw.choice(start)
            for _ in range(draw.randint(1, 4)):
                knows_form = mutate is not None and draw.random() < 0.5
                data = mutate(data, draw) if mutate is not None and knows_form else _mutated(data, draw, start)
            _run_one(target, data, current, arguments.timeout)
            count += 1
        print(f"{count} mutations of {len(start)} inputs: no finding")

    return _kept(fuzz, arguments)


def _kept(work: Callable[[Path], None], arguments: argparse.Namespace) -> int:
    """1 where `work`, which notes the input that it runs, is ended by it; the input is written to the corpus."""
    with tempfile.NamedTemporaryFile() as current:
        # in a child process, for a crash or a limit may end it
        status = _in_child(lambda: work(Path(current.name)), arguments.memory_mb)
        if status == 0:
            return 0
        data = Path(current.name).read_bytes()
    found = arguments.corpus / f"found_{hashlib.sha1(data).hexdigest()[:12]}"
    found.write_bytes(data)
    print(f"a finding ({_ending(status, arguments.timeout)}): {found}; replay it with --replay {found}")
    return 1


def replay(target: Target, paths: Sequence[Path], timeout: float = 10, memory_mb: int = 1024) -> int:
    """Run the target on files, in child processes under limits; 1 after a finding, which is printed."""

    def all_of_them() -> None:
        for path in paths:
            _run_one(target, path.read_bytes(), None, timeout)

    # In one process at first, for what a target imports takes longer than most inputs; alone, to see which one it is.
    together = len(paths) > 1 and not _in_child(all_of_them, memory_mb)
    for path in [] if together else paths:
        data = path.read_bytes()
        status = _in_child(lambda data=data: _run_one(target, data, None, timeout), memory_mb)
        if status:
            print(f"{path}: {_ending(status, timeout)}")
            return 1
    print(f"{len(paths)} inputs: no finding")
    return 0


WAITING = 6
"""Times the limit of an input in seconds of the processor that it may take by the clock."""
_TIMED_OUT = (signal.SIGPROF, signal.SIGALRM)


def _run_one(target: Target, data: bytes, note: Path | None, timeout: float) -> None:
    if note is not None:
        note.write_bytes(data)
    # Processor time, because a busy machine can stop a process for long. The default actions of both signals end the
    # process, wherever it computes or waits.
    for timer, seconds in ((signal.ITIMER_PROF, timeout), (signal.ITIMER_REAL, WAITING * timeout)):
        signal.setitimer(timer, seconds)
    target(data)
    for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
        signal.setitimer(timer, 0)


def _in_child(work: Callable[[], None], memory_mb: int | None = None) -> int:
    """0, the exit code or, negative, the signal of a child process that does `work`."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for number in _TIMED_OUT:
                signal.signal(number, signal.SIG_DFL)
            if memory_mb is not None:
                limit = _pages(0) * resource.getpagesize() + memory_mb * 10**6
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            work()
            sys.stdout.flush()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _pages(which: int) -> int:
    """Pages of memory of this process: 0 mapped, 1 resident."""
    return int(Path("/proc/self/statm").read_text().split()[which])


def _ending(status: int, timeout: float) -> str:
    if -status in _TIMED_OUT:
        return f"took more than {timeout:g} s"
    return f"ended by {signal.Signals(-status).name}" if status < 0 else "an exception, above"


def _mutated(data: bytes, draw: random.Random, others: Sequence[bytes]) -> bytes:
    """`data` with one change: a bit, a byte, a number, a stretch that is lost, repeated or another input's."""
    at, length = draw.randint(0, len(data)), draw.choice((1, 1, 2, 4, 8, draw.randint(1, 64)))
    head, stretch, tail = data[:at], data[at : at + length], data[at + length :]
    match draw.randint(0, 6):
        case 0 if stretch:
            return head + bytes([stretch[0] ^ 1 << draw.randint(0, 7)]) + stretch[1:] + tail
        case 1:
            return head + draw.randbytes(len(stretch)) + tail
        case 2:
            size = draw.choice((1, 2, 4, 8))
            number = draw.choice(BOUNDARIES) % 256**size
            return head + number.to_bytes(size, draw.choice(("little", "big"))) + data[at + size :]
        case 3:
            return head + str(draw.choice(BOUNDARIES)).encode() + tail
        case 4:
            return head + tail
        case 5:
            return head + stretch * draw.choice((2, 2, 3, 100)) + tail
        case _:
            other = draw.choice(others)
            begin = draw.randint(0, len(other))
            return head + other[begin : begin + draw.randint(0, 64)] + tail
