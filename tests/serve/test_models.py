"""Names of models, reloading their files, and what the server reports about itself."""

import asyncio
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import naming
from hdlif.errors import ArtefactError, HdlifError
from hdlif.graph.artefact import save
from hdlif.serve import Settings
from hdlif.serve.app import create_app
from hdlif.serve.byte_counts import byte_count
from hdlif.serve.models import OVERHEAD_BYTES, name_artefacts
from hdlif.serve.server import Started
from served import NPY, STATE, STEPS, async_client, client, npy, residual_network, series, write

PREDICT = "/v1/models/net/predict"
ROWS = npy(np.random.default_rng(0).normal(size=(STEPS, 2)))


def test_models_have_the_names_of_their_files_or_given_ones() -> None:
    assert name_artefacts(["a/digits.hdlif.safetensors", "b=c/d.hdlif.safetensors", "x=y=z.safetensors"]) == {
        "digits": Path("a/digits.hdlif.safetensors"),
        "b": Path("c/d.hdlif.safetensors"),
        "x": Path("y=z.safetensors"),
    }
    assert name_artefacts(["a b=c.safetensors/net"]) == {"net": Path("a b=c.safetensors/net")}
    for bad in (["a/x.hdlif.safetensors", "b/x.hdlif.safetensors"], ["a b"], ["x" * 65], [".."]):
        with pytest.raises(HdlifError):
            name_artefacts(bad)
    with pytest.raises(HdlifError):
        create_app({})


def test_a_changed_file_is_loaded_again_and_streams_stay_with_the_network_they_began_on(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))
    with client(artefacts) as http:
        models = http.app.models

        def reload() -> bool:
            return http.portal.call(models.reload, "net")

        old = http.post(PREDICT, content=ROWS, headers=NPY).json()
        stream = http.post("/v1/models/net/streams").json()
        assert not reload()
        save(series(seed=1), artefacts["net"])
        assert http.post(PREDICT, content=ROWS, headers=NPY).json() == old
        assert reload()
        new = http.post(PREDICT, content=ROWS, headers=NPY).json()
        assert new["inputs"][0]["logits"] != old["inputs"][0]["logits"]
        last = http.post(f"/v1/streams/{stream['stream']}/steps", content=ROWS, headers=NPY).json()["answers"][-1]
        assert last["logits"] == old["inputs"][0]["logits"]
        assert http.get("/v1/models/net").json()["digest"] != stream["digest"]
        state = http.get(f"/v1/streams/{stream['stream']}/state").content
        refused = http.post("/v1/models/net/streams", content=state, headers=STATE)
        assert refused.json()["code"] == "state_refused"
        artefacts["net"].write_bytes(artefacts["net"].read_bytes()[:-1])
        with pytest.raises(ArtefactError):
            reload()
        assert http.post(PREDICT, content=ROWS, headers=NPY).json() == new
        text = http.get("/metrics").text
    for outcome in ("unchanged", "changed", "refused"):
        assert f'hdlif_reloads_total{{model="net",outcome="{outcome}"}} 1.0' in text


def test_a_replaced_network_goes_with_its_last_stream_even_without_collections(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))
    with client(artefacts) as http:
        models = http.app.models
        session = weakref.ref(models["net"].session)
        stream = http.post("/v1/models/net/streams").json()["stream"]
        http.post(PREDICT, content=ROWS, headers=NPY)
        save(series(seed=1), artefacts["net"])
        gc.collect()
        # As a server does when it has started.
        gc.freeze()
        gc.disable()
        try:
            assert http.portal.call(models.reload, "net")
            assert (session() is not None, len(models.old)) == (True, 1)
            assert models.old_bytes > OVERHEAD_BYTES
            assert "hdlif_old_networks 1.0" in http.get("/metrics").text
            http.delete(f"/v1/streams/{stream}")
            assert (session(), len(models.old), models.old_bytes) == (None, 0, 0)
        finally:
            gc.enable()
            gc.unfreeze()


def test_old_networks_are_bounded_by_refusing_to_load_more(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))
    with client(artefacts, max_old_bytes=OVERHEAD_BYTES) as http:
        models = http.app.models
        first = http.post("/v1/models/net/streams").json()
        save(series(seed=1), artefacts["net"])
        assert http.portal.call(models.reload, "net")
        save(series(seed=2), artefacts["net"])
        with pytest.raises(HdlifError):
            http.portal.call(models.reload, "net")
        assert http.post(f"/v1/streams/{first['stream']}/steps", content=ROWS, headers=NPY).status_code == 200
        http.delete(f"/v1/streams/{first['stream']}")
        assert http.portal.call(models.reload, "net")


def test_requests_that_began_before_a_reload_end_on_the_old_network(tmp_path: Path) -> None:
    artefacts = write(tmp_path, net=series(seed=0))

    async def across() -> list[str]:
        async with async_client(artefacts, latency_budget_ms=60_000, max_batch=2) as (app, http):

            async def predict() -> str:
                return (await http.post(PREDICT, content=ROWS, headers=NPY)).text

            before, same = await asyncio.gather(predict(), predict())
            assert before == same
            old = app.models["net"]
            waiting = asyncio.create_task(predict())
            while not old._inputs._queue:
                await asyncio.sleep(0.01)
            save(series(seed=1), artefacts["net"])
            # Of two reloads at a time one changes the network.
            assert await asyncio.gather(app.models.reload("net"), app.models.reload("net")) == [True, False]
            after, _ = await asyncio.gather(predict(), predict())
            assert not waiting.done()
            old._inputs._start()
            return [before, await waiting, after]

    before, across_reload, after = asyncio.run(across())
    assert before == across_reload != after


def test_the_server_reports_its_models_readiness_and_requests(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series(), a=residual_network(), b=series("sequence"))) as http:
        started = Started("http://x", tuple(http.app.models))
        assert [one["name"] for one in started.as_dict()["models"]] == ["net", "a", "b"]
        assert "a.hdlif.safetensors, image 3x9x7, 4 steps, 3 outputs" in str(started)
        listed = http.get("/v1/models").json()["models"]
        assert http.get("/v1/models/b").json() == listed[2]
        assert (listed[1]["input"]["shape"], listed[2]["task"], listed[2]["delay"]) == ([3, 9, 7], "sequence", 2)
        assert (http.get("/healthz").json(), http.get("/readyz").json()) == ({"status": "ok"}, {"status": "ready"})
        http.post(PREDICT, content=ROWS, headers=NPY)
        http.get("/v1/models/other/predict")
        http.request("BREW", "/coffee")
        http.app.draining = True
        ending = http.get("/readyz")
        assert (ending.status_code, ending.json()["code"]) == (503, "draining")
        assert http.get("/healthz").headers["connection"] == "close"
        assert http.post(PREDICT, content=ROWS, headers=NPY).status_code == 200
        text = http.get("/metrics").text
    assert 'hdlif_requests_total{method="POST",route="/v1/models/{model}/predict",status="200"} 2.0' in text
    assert 'hdlif_requests_total{method="other",route="none",status="404"} 1.0' in text
    assert not [word for word in ("coffee", "BREW") if word in text]
    assert "process_resident_memory_bytes" in text


def test_the_description_has_every_route_and_what_it_accepts(tmp_path: Path) -> None:
    with client(write(tmp_path, net=series())) as http:
        described = http.get("/openapi.json").json()
        routes = {(route.path, method.lower()) for route in http.app.routes for method in route.endpoint.handlers}
    operations = {(path, method): one for path, found in described["paths"].items() for method, one in found.items()}
    assert operations.keys() == routes - {("/openapi.json", "get")}
    predict, components = operations["/v1/models/{model}/predict", "post"], described["components"]
    assert {"200", "400", "404", "408", "413", "415", "422", "429", "500", "503"} == set(predict["responses"])
    assert components["parameters"]["model"]["schema"]["enum"] == ["net"]
    accepted = components["requestBodies"]["Input"]["content"]
    assert {"image/png", "application/x-npy", "application/json", "audio/wav"} <= set(accepted)
    text = json.dumps(described)
    assert [f"{kind}/{name}" for kind in components for name in components[kind] if f"{kind}/{name}" not in text] == []


def test_settings_out_of_range_are_refused() -> None:
    refused: dict[str, tuple[Any, ...]] = {
        **{"max_batch": (0, 1.5), "max_streams": (-1,), "latency_budget_ms": (-1.0,), "max_body_bytes": (True,)},
        **{"receive_seconds": (0.0,), "stream_idle_seconds": (float("nan"),), "threads": (0,)},
    }
    for name, values in refused.items():
        for value in values:
            with naming(name, value), pytest.raises(HdlifError, match=name):
                Settings(**{name: value})
    assert Settings(max_streams=0, drain_seconds=0).threads is None


def test_units_of_byte_counts_are_powers_of_1024_and_what_is_ambiguous_or_no_number_is_refused() -> None:
    texts = {"0": 0, "65536": 2**16, "64K": 2**16, "64k": 2**16, "64KiB": 2**16, " 1M ": 2**20, "2g": 2**31}
    assert {text: byte_count(text) for text in texts} == texts
    for text in (*("", "K", "64KB", "64MB", "1.5M", "-1", "+1", "1e6", "2^16"), "1_000", "٣", "64 K", "9" * 16):
        with pytest.raises(ValueError, match=r"64K, 64KiB, 1M or 2G \(K is 1,024 bytes"):
            byte_count(text)
