"""Names of models, reloading their files, and what the server says of itself."""

import asyncio
import gc
import weakref
from pathlib import Path

import httpx
import numpy as np
import pytest

from hdlif.artefact import save
from hdlif.errors import ArtefactError, HdlifError
from hdlif.serve import Settings
from hdlif.serve.app import create_app
from hdlif.serve.models import OVERHEAD_BYTES, named
from served import NPY, STEPS, client, npy, series, write

TOKEN = "a-token-of-sixteen-letters"
BEARER = {"authorization": f"Bearer {TOKEN}"}
ROWS = npy(np.random.default_rng(0).normal(size=(STEPS, 2)))


def test_names_are_those_of_files_or_given() -> None:
    assert named(["a/digits.hdlif.safetensors", "b=c/d.hdlif.safetensors", "x=y=z.safetensors"]) == {
        "digits": Path("a/digits.hdlif.safetensors"),
        "b": Path("c/d.hdlif.safetensors"),
        "x": Path("y=z.safetensors"),
    }
    assert named(["a b=c.safetensors/net"]) == {"net": Path("a b=c.safetensors/net")}


@pytest.mark.parametrize("artefacts", [["a/x.hdlif.safetensors", "b/x.hdlif.safetensors"], ["a b"], ["x" * 65], [".."]])
def test_names_that_clash_or_are_none_for_a_path_are_refused(artefacts: list[str]) -> None:
    with pytest.raises(HdlifError, match="give NAME=PATH"):
        named(artefacts)


def test_an_artefact_that_cannot_be_loaded_is_said_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no")
    with pytest.raises(ArtefactError):
        create_app({"x": tmp_path / "x"})
    with pytest.raises(HdlifError, match="no artefact"):
        create_app({})


def test_a_changed_file_is_loaded_again_and_streams_stay_with_what_they_began_on(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))
    with client(artefacts, admin_token=TOKEN) as http:
        old = http.post("/v1/models/net/predict", content=ROWS, headers=NPY).json()
        stream = http.post("/v1/models/net/streams").json()
        same = http.post("/v1/models/net/reload", headers=BEARER).json()
        assert same == {"name": "net", "digest": stream["digest"], "changed": False}
        save(series(seed=1), artefacts["net"])
        assert http.post("/v1/models/net/predict", content=ROWS, headers=NPY).json() == old
        assert http.post("/v1/models/net/reload", headers=BEARER).json()["changed"]
        new = http.post("/v1/models/net/predict", content=ROWS, headers=NPY).json()
        assert new["inputs"][0]["logits"] != old["inputs"][0]["logits"]
        said = http.post(f"/v1/streams/{stream['stream']}/steps", content=ROWS, headers=NPY).json()["answers"][-1]
        assert said["logits"] == old["inputs"][0]["logits"]
        assert http.get("/v1/models/net").json()["digest"] != stream["digest"]
        state = http.get(f"/v1/streams/{stream['stream']}/state").content
        refused = http.post(
            "/v1/models/net/streams", content=state, headers={"content-type": "application/vnd.hdlif.state"}
        )
        assert refused.json()["code"] == "state_refused"


def test_an_exchanged_network_goes_with_its_last_stream_whatever_collections_do(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))
    with client(artefacts, admin_token=TOKEN) as http:
        models = http.app.state.server.models
        session = weakref.ref(models["net"].session)
        stream = http.post("/v1/models/net/streams").json()["stream"]
        http.post("/v1/models/net/predict", content=ROWS, headers=NPY)
        save(series(seed=1), artefacts["net"])
        gc.collect()
        # As a server that has started does.
        gc.freeze()
        gc.disable()
        try:
            assert http.post("/v1/models/net/reload", headers=BEARER).json()["changed"]
            assert (session() is not None, len(models.old)) == (True, 1)
            assert models.old_bytes > OVERHEAD_BYTES
            assert "hdlif_old_networks 1.0" in http.get("/metrics").text
            http.delete(f"/v1/streams/{stream}")
            assert (session(), models.old, models.old_bytes) == (None, [], 0)
        finally:
            gc.enable()
            gc.unfreeze()


def test_old_networks_are_bounded_by_refusing_to_load_more(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))
    with client(artefacts, admin_token=TOKEN, max_old_bytes=OVERHEAD_BYTES) as http:
        streams = []
        for seed in (1, 2):
            streams.append(http.post("/v1/models/net/streams").json())
            save(series(seed=seed), artefacts["net"])
            answer = http.post("/v1/models/net/reload", headers=BEARER)
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "networks_full", "5")
        assert http.get("/v1/models/net").json()["digest"] == streams[1]["digest"] != streams[0]["digest"]
        said = http.post(f"/v1/streams/{streams[0]['stream']}/steps", content=ROWS, headers=NPY)
        assert said.status_code == 200
        del said
        http.delete(f"/v1/streams/{streams[0]['stream']}")
        assert http.post("/v1/models/net/reload", headers=BEARER).json()["changed"]


def test_of_two_reloads_at_once_one_changes_the_network(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))

    async def twice() -> list[bool]:
        models = create_app(artefacts, Settings(threads=1)).state.server.models
        save(series(seed=1), artefacts["net"])
        return await asyncio.gather(models.reload("net"), models.reload("net"))

    assert asyncio.run(twice()) == [True, False]


def test_a_damaged_file_is_refused_and_the_model_goes_on(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series())
    with client(artefacts, admin_token=TOKEN) as http:
        old = http.post("/v1/models/net/predict", content=ROWS, headers=NPY).json()
        artefacts["net"].write_bytes(artefacts["net"].read_bytes()[:-1])
        refused = http.post("/v1/models/net/reload", headers=BEARER)
        assert (refused.status_code, refused.json()["code"]) == (422, "artefact_refused")
        assert http.post("/v1/models/net/predict", content=ROWS, headers=NPY).json() == old
        assert 'hdlif_reloads_total{model="net",outcome="refused"} 1.0' in http.get("/metrics").text


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_reloading_needs_the_token(header: str, tmp_path: Path) -> None:
    with client(write(tmp_path, net=series()), admin_token=TOKEN) as http:
        answer = http.post("/v1/models/net/reload", headers={"authorization": header})
        expected = 200 if header.strip() == f"Bearer {TOKEN}" else 401
        assert answer.status_code == expected
        if expected == 401:
            assert answer.json()["code"] == "unauthorised"


def test_requests_that_began_before_a_reload_end_on_what_they_began_on(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))

    async def across() -> list[str]:
        app = create_app(artefacts, Settings(latency_budget_ms=60_000, max_batch=2, threads=1))
        models = app.state.server.models
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:

            async def said() -> str:
                return (await http.post("/v1/models/net/predict", content=ROWS, headers=NPY)).text

            before, same = await asyncio.gather(said(), said())
            assert before == same
            old = models["net"]
            waiting = asyncio.create_task(said())
            while not old.inputs._queue:
                await asyncio.sleep(0.01)
            save(series(seed=1), artefacts["net"])
            assert await models.reload("net")
            after, _ = await asyncio.gather(said(), said())
            assert not waiting.done()
            old.inputs._start()
            return [before, await waiting, after]

    before, across_reload, after = asyncio.run(across())
    assert before == across_reload != after


def test_readiness_ends_when_the_server_does_and_health_does_not(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series())) as http:
        assert (http.get("/healthz").json(), http.get("/readyz").json()) == ({"status": "ok"}, {"status": "ready"})
        http.app.state.server.draining = True
        ending = http.get("/readyz")
        assert (ending.status_code, ending.json()["code"]) == (503, "draining")
        assert http.get("/healthz").status_code == 200
        assert http.post("/v1/models/net/predict", content=ROWS, headers=NPY).status_code == 200


def test_routes_are_counted_by_what_they_are_and_not_by_what_clients_invent(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series())) as http:
        http.post("/v1/models/net/predict", content=ROWS, headers=NPY)
        http.get("/v1/models/other/predict")
        http.request("BREW", "/coffee")
        text = http.get("/metrics").text
    assert 'hdlif_requests_total{method="POST",route="/v1/models/{model}/predict",status="200"} 1.0' in text
    assert 'method="other"' in text
    assert "coffee" not in text
    assert "BREW" not in text
    assert "process_resident_memory_bytes" in text


def test_the_description_names_every_route_and_refusal(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series()), admin_token=TOKEN) as http:
        described = http.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/healthz",
        "/metrics",
        "/readyz",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/models/{model}/predict",
        "/v1/models/{model}/reload",
        "/v1/models/{model}/streams",
        "/v1/streams/{stream}",
        "/v1/streams/{stream}/state",
        "/v1/streams/{stream}/steps",
    }
    predict = described["paths"]["/v1/models/{model}/predict"]["post"]
    assert {"200", "400", "404", "413", "415", "422", "429", "503"} <= set(predict["responses"])
    assert {"image/png", "application/x-npy", "application/json"} <= set(predict["requestBody"]["content"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch", 0),
        ("max_batch", 1.5),
        ("max_streams", -1),
        ("latency_budget_ms", -1.0),
        ("max_body_bytes", True),
        ("receive_seconds", 0.0),
        ("requests_per_second", 0),
        ("stream_idle_seconds", float("nan")),
        ("threads", 0),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(HdlifError, match=f"{name} = .*; give"):
        Settings(**{name: value})  # type: ignore[arg-type]
