"""Networks on streams: time from a sample to the answer, time of a sample, and share of a core in real time.

    python benchmarks/bench_stream.py ARTEFACT... [--seconds 60] [--windows 100] [--runs 3] [--threads 1] [--out FILE]

What is sent is noise of the training's mean and deviation (of sounds of an amplitude of 0.1): the time of a network of
floats does not depend on it. Two ways are measured. Samples are pushed into `hdlif.Stream` from Python. And a process
`hdlif run --stream - --json` is written to through a pipe: from writing the last sample of a window (of sounds the last
step's), which finds the process waiting, to having read its line; and the processor's time of a sample, which is the
difference between a long stream and one of a single window. All of it as often as `--runs` says, artefacts in turns.
Prints one JSON object, and writes it to --out as a record; times in microseconds.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

from hdlif.runtime import Session, Stream
from recorded import write_record

HERTZ_OF_READINGS = 50


def noise(session: Session, count: int) -> np.ndarray:
    """Samples [N, C], or of sounds int16 [N]."""
    rng, record = np.random.default_rng(0), session.input
    if record.sound:
        return (rng.normal(0, 0.1, count) * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    return rng.normal(record.mean, record.std, (count, len(record.mean))).astype(np.float32)


def quantiles(seconds: list[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(np.array(seconds) * 1e6, [50, 95, 99])
    return {"p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1), "n": len(seconds)}


def pushed(session: Session, hertz: int, seconds: float, hop: int | None) -> dict[str, Any]:
    """In this process, a sample of readings at once, and of sound a step's."""
    stream = Stream(session, hop=hop)
    piece = session.input.sound.hop if session.input.sound else 1
    count = max(4 * stream.length, int(seconds * hertz)) // piece * piece
    samples = noise(session, count)
    each: list[float] = []
    answers: list[float] = []
    for begin in range(0, count, piece):
        before, cpu = perf_counter(), process_time()
        said = stream.push(samples[begin : begin + piece])
        each.append(process_time() - cpu)
        if said:
            answers.append(perf_counter() - before)
    return {
        "hop": stream.hop,
        "samples": count,
        "push": quantiles(each),
        "microseconds_a_sample": round(sum(each) / count * 1e6, 3),
        "sample_to_answer": quantiles(answers),
        "share_of_a_core": float(f"{sum(each) / count * hertz:.3g}"),
    }


def command(artefact: Path, threads: int) -> list[str]:
    return [sys.executable, "-m", "hdlif", "run", str(artefact), "--stream", "-", "--json", "--threads", str(threads)]


def encoded(session: Session, samples: np.ndarray, parts: int) -> list[bytes]:
    """What is written for a window: a row each, or a step's samples of sound."""
    if session.input.sound is not None:
        return [part.tobytes() for part in np.array_split(samples, parts)]
    return [(",".join(map(repr, row)) + "\n").encode() for row in samples.tolist()]


def piped(artefact: Path, session: Session, threads: int, windows: int) -> dict[str, Any]:
    """By the command, from writing a window's last samples to its line."""
    stream = Stream(session)
    taken: list[float] = []
    inside: list[float] = []
    with subprocess.Popen(
        command(artefact, threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin
        assert process.stdout
        for _ in range(windows + 1):
            *parts, last = encoded(session, noise(session, stream.length), session.time_steps)
            process.stdin.write(b"".join(parts))
            # Until it has taken them, and waits.
            sleep(0.05 if taken else 2)
            before = perf_counter()
            process.stdin.write(last)
            said = json.loads(process.stdout.readline())
            taken.append(perf_counter() - before)
            inside.append(said["ms"] / 1000)
        process.stdin.close()
    return {"write_to_line": quantiles(taken[1:]), "as_it_says": quantiles(inside[1:])}


def processor_time(artefact: Path, session: Session, hertz: int, threads: int, windows: int) -> dict[str, Any]:
    """Of a sample, by the command, without the start."""
    length = Stream(session).length
    data = b"".join(encoded(session, noise(session, length), session.time_steps))
    seconds = []
    for count in (1, windows):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command(artefact, threads), input=data * count, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    each = (seconds[1] - seconds[0]) / ((windows - 1) * length)
    return {"microseconds_a_sample": round(each * 1e6, 3), "share_of_a_core": float(f"{each * hertz:.3g}")}


def measure(artefact: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    session = Session(artefact, options.threads)
    hertz = session.input.sound.rate if session.input.sound else HERTZ_OF_READINGS
    length = Stream(session).length
    return {
        "hertz": hertz,
        "steps": session.time_steps,
        "window": length,
        "apart": pushed(session, hertz, options.seconds, None),
        "overlapping_by_7_of_8": pushed(session, hertz, options.seconds, max(1, length // 8)),
        "command": piped(artefact, session, options.threads, options.windows)
        | processor_time(artefact, session, hertz, options.threads, options.windows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefacts", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of the stream, in its own time")
    parser.add_argument("--windows", type=int, default=100, help="that the command is sent")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {artefact.name: [] for artefact in options.artefacts}
    for _ in range(options.runs):
        for artefact in options.artefacts:
            found[artefact.name].append(measure(artefact, options))
    instructions = Session(options.artefacts[0], options.threads).instructions
    record = {"threads": options.threads, "instructions": instructions, "networks": found}
    print(json.dumps(record, indent=1))
    if options.out:
        write_record(options.out, record, seeds=[0])


if __name__ == "__main__":
    main()
