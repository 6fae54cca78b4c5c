"""Streams: the bits of a whole run, in order, within bounds, and moved from one server to another."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cases import every
from deployed_graphs import detector, u_net
from hdlif.runtime import Session
from hdlif.runtime.answers import answers
from hdlif.runtime.going_on import GoingOn
from hdlif.runtime.images import Placed
from hdlif.runtime.masks import as_json
from hdlif.serve.streams import MOST_IN_LINE, OVERHEAD_BYTES
from served import NPY, STATE, STEPS, async_client, client, npy, residual_network, series, write


def begin(http: Any, model: str = "net", **given: Any) -> dict[str, Any]:
    answer = http.post(f"/v1/models/{model}/streams", **given)
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/streams/{found['stream']}"), answer.text
    return found


def step(http: Any, stream: str, x: np.ndarray, **given: Any) -> Any:
    return http.post(f"/v1/streams/{stream}/steps", content=npy(x), headers=NPY, **given)


def frames(rows: np.ndarray) -> np.ndarray:
    """Normalised steps [K, 1, C, 1, 1]."""
    found: np.ndarray = ((rows - np.float32(0.5)) / np.float32(2))[:, None, :, None, None]
    return found


def test_steps_come_in_every_form(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 2)).astype(np.float32)
    pixels = rng.integers(0, 256, (3, 9, 7), dtype=np.uint8)
    images = rng.normal(size=(2, 3, 9, 7)).astype(np.float32)
    csv = "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()
    grey = ((pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.25))[None, None]
    graphs = {"line": series(), "image": residual_network(), "map": u_net(), "boxes": detector()}
    maps, boxes = (rng.normal(size=(2, *graphs[name].input.shape)).astype(np.float32) for name in ("map", "boxes"))
    forms: list[tuple[str, dict[str, Any], np.ndarray]] = [
        ("line", {"content": csv, "headers": {"content-type": "text/csv"}}, frames(rows)),
        ("image", {"content": npy(pixels), "headers": NPY}, grey),
        ("image", {"json": images.tolist()}, images[:, None]),
        ("image", {"content": npy(images), "headers": NPY}, images[:, None]),
        ("map", {"content": npy(maps), "headers": NPY}, maps[:, None]),
        ("boxes", {"content": npy(boxes), "headers": NPY}, boxes[:, None]),
    ]
    with client(write(tmp_path, **graphs)) as http:
        assert http.get("/v1/models/map").json()["output"] == [3, 8, 6]
        for number, (model, body, x) in enumerate(forms):
            stream = begin(http, model)["stream"]
            found = http.post(f"/v1/streams/{stream}/steps", **body).json()["answers"]
            session, whole = Session(graphs[model], 1), [Placed.whole(graphs[model].input)]
            for t in range(1, len(x) + 1):
                expected = next(answers(session.run(x[:t], t), session.task, session.labels, whole))
                assert found[t - 1] == {"t": t, **as_json(expected or {})}, number
            assert http.get(f"/v1/streams/{stream}").json()["t"] == len(x)


def test_a_stream_moves_between_servers(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series("sequence"))
    rows = np.random.default_rng(0).normal(size=(STEPS, 2))
    with client(artefacts) as one, client(artefacts) as other:
        stays, moves = (begin(one)["stream"] for _ in range(2))
        for row in rows[:3]:
            step(one, stays, row), step(one, moves, row)
        state = one.get(f"/v1/streams/{moves}/state")
        assert state.headers["content-type"] == STATE["content-type"]
        assert one.delete(f"/v1/streams/{moves}").status_code == 204
        there = begin(other, content=state.content, headers=STATE)
        assert there["t"] == 3
        assert step(other, there["stream"], rows[3:]).json()["answers"] == step(one, stays, rows[3:]).json()["answers"]
        damaged = state.content[:-1] + bytes([state.content[-1] ^ 1])
        for content in (damaged, b"{}"):
            refused = other.post("/v1/models/net/streams", content=content, headers=STATE)
            assert refused.json()["code"] == "state_refused"
        refused = other.post("/v1/models/net/streams", content=state.content, headers=NPY)
        assert refused.json()["code"] == "unknown_content_type"
        assert len(other.app.streams) == 1


def test_refused_steps_leave_the_stream_as_it_was(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series())) as http:
        stream = begin(http)["stream"]
        assert step(http, stream, np.zeros(2), params={"t": 0}).json()["t"] == 1
        before = http.get(f"/v1/streams/{stream}/state").content
        for bad in (np.ones(3), np.array([1, np.nan]), np.ones((2, 2, 2)), np.ones((0, 2))):
            assert step(http, stream, bad).json()["code"] == "input_refused"
        for t in ("0", "-1", "x", "9" * 19):
            refused = step(http, stream, np.ones(2), params={"t": t}).json()
            assert refused["code"] == ("wrong_step" if t == "0" else "bad_parameter"), t
        assert http.get(f"/v1/streams/{stream}/state").content == before
        assert step(http, stream, np.zeros(2), params={"t": 1}).json()["t"] == 2


def test_requests_of_a_stream_run_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    rows = np.random.default_rng(0).normal(size=(MOST_IN_LINE + 1, 2))

    async def send() -> list[httpx.Response]:
        async with async_client(artefacts) as (_, http):
            stream = (await http.post("/v1/models/net/streams")).json()["stream"]
            return list(await asyncio.gather(*(step(http, stream, row) for row in rows)))

    *found, late = asyncio.run(send())
    assert (late.status_code, late.json()["code"], late.headers["retry-after"]) == (429, "too_many_requests", "1")
    with client(artefacts) as http:
        alone = step(http, begin(http)["stream"], rows[:-1]).json()["answers"]
    assert [one.json()["answers"][0] for one in found] == alone


def test_number_and_bytes_of_streams_are_bounded(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    with client(artefacts, max_streams=2) as http:
        first, _ = begin(http), begin(http)
        full = http.post("/v1/models/net/streams")
        assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "streams_full", "5")
        http.delete(f"/v1/streams/{first['stream']}")
        begin(http)
    size = first["bytes"]
    assert size > OVERHEAD_BYTES
    with client(artefacts, max_stream_bytes=3 * size - 1) as http:
        begin(http), begin(http)
        assert http.post("/v1/models/net/streams").json()["code"] == "streams_full"
        assert http.app.streams.bytes == 2 * size
    with client(artefacts, max_streams=0) as http:
        assert http.post("/v1/models/net/streams").json()["code"] == "unknown_path"
        assert "stream" not in str(http.get("/openapi.json").json()["paths"].keys())


def test_idle_streams_end_but_not_while_a_request_of_them_comes(tmp_path: Path) -> None:
    body, now = npy(np.zeros((1, 2))), 100.0

    async def slowly() -> None:
        nonlocal now
        async with async_client(write(tmp_path, net=series()), stream_idle_seconds=10) as (app, http):
            app.streams._now = lambda: now
            slow, idle = [(await http.post("/v1/models/net/streams")).json()["stream"] for _ in range(2)]

            async def parts() -> AsyncIterator[bytes]:
                nonlocal now
                yield body[:50]
                now = 120.0
                assert (await http.get(f"/v1/streams/{idle}")).json()["code"] == "unknown_stream"
                yield body[50:]

            sent = await http.post(f"/v1/streams/{slow}/steps", content=parts(), headers=NPY)
            assert (sent.status_code, len(app.streams)) == (200, 1)
            now = 130.0
            app.streams.end_idle()
            assert (len(app.streams), app.streams.bytes) == (0, 0)
            assert 'hdlif_streams_ended_total{reason="idle"} 2.0' in (await http.get("/metrics")).text

    asyncio.run(slowly())


def test_a_cancelled_request_keeps_its_turn_until_its_steps_have_run(tmp_path: Path) -> None:
    go, runs = threading.Event(), []

    async def cancel() -> tuple[int, int]:
        async with async_client(write(tmp_path, net=series())) as (app, http):
            stream = (await http.post("/v1/models/net/streams")).json()["stream"]
            sequence = app.streams._open[stream].sequence
            run = sequence.run

            def held(x: Any) -> Any:
                runs.append("begins")
                assert go.wait(30)
                said = run(x)
                runs.append("ends")
                return said

            sequence.run = held  # type: ignore[method-assign]
            first, second = [asyncio.create_task(step(http, stream, np.zeros((k, 2)))) for k in (3, 1)]
            while not runs:
                await asyncio.sleep(0.01)
            # As some servers do when the client has gone.
            first.cancel()
            await asyncio.sleep(0.1)
            assert runs == ["begins"]
            go.set()
            answer = await second
            with pytest.raises(asyncio.CancelledError):
                await first
            return answer.status_code, answer.json()["t"]

    assert asyncio.run(cancel()) == (200, 4)
    assert runs == ["begins", "ends"] * 2


def test_steps_of_a_request_are_bounded_by_number_operations_and_memory(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    _, each = Session(artefacts["net"], 1)._cost(1, 1, False, False, False)
    for limits, code in (
        ({"max_steps": 3 * STEPS}, "too_many_inputs"),
        ({"max_operations": 3 * STEPS * each}, "too_much_work"),
        ({"max_bodies_bytes": 3 * STEPS * 1000}, "body_too_large"),
    ):
        with client(artefacts, **limits) as http:
            stream = begin(http)["stream"]
            refused = step(http, stream, np.zeros((4 * STEPS, 2), np.float32))
            assert refused.json()["code"] == code
            assert step(http, stream, np.zeros((3 * STEPS - 1, 2), np.float32)).json()["t"] == 3 * STEPS - 1
            assert http.app.room.held == 0


def test_ended_and_unknown_streams_are_not_found(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series())) as http:
        stream = begin(http)["stream"]
        http.delete(f"/v1/streams/{stream}")
        for path in (f"/v1/streams/{stream}", f"/v1/streams/{'x' * 22}"):
            for found in (http.get(path), http.get(f"{path}/state"), http.delete(path), http.post(f"{path}/steps")):
                assert (found.status_code, found.json()["code"]) == (404, "unknown_stream")


@every(task=["classify", "last"])
def test_a_stream_ends_when_it_is_sure(task: str, tmp_path: Path) -> None:
    """Steps after the first sure one do not run, and further ones are refused; its state goes on elsewhere."""
    x = np.random.default_rng(3).normal(0, 4, (40, 2)).astype(np.float32)
    answers = [{"t": t, **(one or {})} for t, one in enumerate(GoingOn(Session(series(task), 1)).run(frames(x)), 1)]
    chances = [one["probability"] for one in answers]
    sure = next(t for t in range(3, 39) if chances[t - 1] > max(chances[: t - 1]))
    graph = replace(series(task), confidence=(chances[sure - 1] + max(chances[: sure - 1])) / 2)
    with client(write(tmp_path, net=graph)) as http:
        stream = begin(http)
        assert not stream["sure"]
        first = step(http, stream["stream"], x[: sure - 1]).json()
        assert (first["answers"], first["sure"]) == (answers[: sure - 1], False)
        rest = step(http, stream["stream"], x[sure - 1 :]).json()
        assert (rest["answers"], rest["t"], rest["sure"]) == ([answers[sure - 1]], sure, True)
        refused = step(http, stream["stream"], x[sure])
        assert (refused.status_code, refused.json()["code"]) == (409, "already_sure")
        assert f"reached its confidence at step {sure}" in refused.json()["message"]
        assert http.get(f"/v1/streams/{stream['stream']}").json()["sure"]
        state = http.get(f"/v1/streams/{stream['stream']}/state").content
        there = begin(http, content=state, headers=STATE)
        assert (there["t"], there["sure"]) == (sure, False)
        assert step(http, there["stream"], x[sure]).json()["answers"] == [answers[sure]]
