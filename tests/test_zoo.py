"""Trained networks by name: what comes with the repository, and what is fetched."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

import hdlif
from command_line import hdlif as command
from hdlif import zoo
from hdlif.errors import DataError, InputError, OutputError
from hdlif.inputs.datasets import WITHOUT_DOWNLOAD
from hdlif.serve.app import create_app
from hdlif.serve.models import name_artefacts

NETWORKS = sorted(zoo.manifest()) if zoo.CHECKOUT.is_dir() else []
CONTENTS = {f"small{suffix}": (f"the {suffix} file " * 1000).encode() for suffix in zoo.SUFFIXES}


def test_the_folder_holds_what_the_manifest_states() -> None:
    if not NETWORKS:
        pytest.skip("no zoo is here: a source distribution has none")
    stated = {file: of for entry in zoo.manifest().values() for file, of in entry["files"].items()}
    there = {path.name: path.read_bytes() for path in zoo.CHECKOUT.iterdir() if path.name != zoo.MANIFEST}
    assert {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in there.items()
    } == stated
    assert sum(map(len, there.values())) <= zoo.MOST_BYTES


@pytest.mark.parametrize("name", NETWORKS)
def test_a_card_has_the_figures_of_its_manifest_entry(name: str) -> None:
    entry, card = zoo.manifest()[name], json.loads((zoo.CHECKOUT / f"{name}{zoo.CARD}").read_text("utf-8"))
    assert {key: card[key] for key in entry if key != "files"} == {k: one for k, one in entry.items() if k != "files"}
    assert card["name"] == name
    assert card["model_bytes"] == entry["files"][name + zoo.MODEL]["bytes"]
    low, high = entry["interval"]
    assert low < entry["value"] < high


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if zoo.manifest()[name]["data"] in WITHOUT_DOWNLOAD else [pytest.mark.slow])
        for name in NETWORKS
    ],
)
def test_a_network_has_the_accuracy_of_its_card(name: str, request: pytest.FixtureRequest) -> None:
    card = json.loads((zoo.CHECKOUT / f"{name}{zoo.CARD}").read_text("utf-8"))
    bundled = card["data"] in WITHOUT_DOWNLOAD
    root = None if bundled else request.getfixturevalue("data_root")
    try:
        evaluated = hdlif.evaluate(name, data_root=root)
    except DataError as error:
        if bundled:
            raise
        pytest.skip(f"its data are not in --data-root: {error}")
    assert (evaluated.n, evaluated.metrics[card["metric"]]) == (card["samples"], card["value"])
    if bundled:
        deployed = hdlif.evaluate(zoo.network_file(name), data=card["data"])
        assert deployed.metrics == card["metrics_of_model_file"]


def write_zoo(folder: Path, contents: dict[str, bytes]) -> Path:
    files = {name: {"bytes": len(one), "sha256": hashlib.sha256(one).hexdigest()} for name, one in contents.items()}
    entry = {"data": "digits", "metric": "accuracy", "value": 0.9, "interval": [0.8, 1.0], "licence": "Apache-2.0"}
    folder.mkdir()
    for name, one in contents.items():
        (folder / name).write_bytes(one)
    (folder / zoo.MANIFEST).write_text(json.dumps({"networks": {"small": {**entry, "files": files}}}))
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return write_zoo(tmp_path / "elsewhere", CONTENTS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return zoo.cache()


class Server(ThreadingHTTPServer):
    """Serves a folder; `answer`, if it is set, answers in place of the files other than the manifest."""

    folder: Path
    answer: Callable[[BaseHTTPRequestHandler, bytes], None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/zoo"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.server.folder / self.path.removeprefix("/zoo/")
        if not path.is_file():
            self.send_error(404)
        elif self.server.answer is not None and path.name != zoo.MANIFEST:
            self.server.answer(self, path.read_bytes())
        else:
            respond(self, path.read_bytes(), path.stat().st_size)

    def log_message(self, *_: object) -> None:
        pass


def respond(handler: BaseHTTPRequestHandler, content: bytes, stated: int | None) -> None:
    handler.send_response(200)
    if stated is not None:
        handler.send_header("Content-Length", str(stated))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def server(elsewhere: Path) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as one:
        one.folder = elsewhere
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def test_files_come_from_a_folder_or_an_address(elsewhere: Path, server: Server, tmp_path: Path) -> None:
    for number, source in enumerate((str(elsewhere), server.url, f"{server.url}/")):
        paths = zoo.get("small", source=source, to=tmp_path / str(number))
        assert {path.name: path.read_bytes() for path in paths} == CONTENTS


def test_a_fetched_network_is_found_by_its_name(elsewhere: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="no trained network of that name"):
        zoo.network_file("small")
    zoo.get("small", source=str(elsewhere))
    assert zoo.network_file("small") == cache / f"small{zoo.MODEL}"
    assert zoo.network_file("small", zoo.WEIGHTS).read_bytes() == CONTENTS[f"small{zoo.WEIGHTS}"]
    assert "small" in zoo.network_names()


def test_a_path_takes_precedence_over_a_name(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.get("small", source=str(elsewhere))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert zoo.network_file("small") == Path("small")
    # Neither is a name: the command itself says that nothing is there.
    assert zoo.network_file("small.hdlif.safetensors") == Path("small.hdlif.safetensors")
    assert zoo.network_file("runs/small") == Path("runs/small")


def cut_short(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    respond(handler, content[:100], len(content))


def longer(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    respond(handler, content + b"x", len(content) + 1)


def changed(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    respond(handler, bytes(len(content)), len(content))


def to_http(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/zoo")
    handler.end_headers()


def nonsense(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.wfile.write(b"no answer of HTTP\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (cut_short, r"SHA-256.*\(100 of"),
        (longer, "at most"),
        (changed, "SHA-256"),
        (to_http, "redirects to http://"),
        (nonsense, "cannot be read"),
    ],
)
def test_a_file_that_is_not_as_stated_leaves_nothing_behind(
    server: Server, cache: Path, answer: Callable[[BaseHTTPRequestHandler, bytes], None], words: str
) -> None:
    server.answer = answer
    with pytest.raises(InputError, match=words):
        zoo.get("small", source=server.url)
    assert not cache.exists()


def test_no_more_is_read_than_stated(server: Server, tmp_path: Path) -> None:
    sent = []

    def endless(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        try:
            respond(handler, content, None)
            for _ in range(10**4):
                sent.append(handler.wfile.write(bytes(2**16)))
        except OSError:
            pass

    server.answer = endless
    assert len(zoo.get("small", source=server.url, to=tmp_path / "to")) == 3
    # What the buffers of the system take.
    assert sum(sent) < 10**8


@pytest.mark.parametrize("address", ["http://example.org/zoo", "ftp://127.0.0.1/zoo", "file:///zoo", "http://[::1/zoo"])
def test_an_address_that_is_not_encrypted_is_refused_before_it_is_asked(address: str) -> None:
    with pytest.raises(InputError, match="https://"):
        zoo.manifest(address)


def test_a_manifest_of_unknown_form_is_refused(elsewhere: Path) -> None:
    good = (elsewhere / zoo.MANIFEST).read_text()
    for bad in (
        "[]",
        "{}",
        '{"networks": {"small": {}}}',
        good.replace('"small":', '"../small":'),
        good.replace("small.json", "other.json"),
        good.replace('"bytes": ', '"bytes": 9999999'),
        good.replace('"sha256": "', '"sha256": "x'),
        good.replace('"value": 0.9', '"value": "0.9"'),
    ):
        (elsewhere / zoo.MANIFEST).write_text(bad)
        with pytest.raises(InputError, match=r"manifest\.json"):
            zoo.get("small", source=str(elsewhere))


def test_files_of_ones_own_are_not_replaced(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    mine = tmp_path / "to" / "small.json"
    mine.write_text("mine")
    with pytest.raises(InputError, match=r"small\.json: already exists"):
        zoo.get("small", source=str(elsewhere), to=tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["small.json"]
    assert mine.read_text() == "mine"
    mine.unlink()
    for _ in range(2):
        assert len(zoo.get("small", source=str(elsewhere))) == 3
    with pytest.raises(OutputError):
        zoo.get("small", source=str(elsewhere), to=elsewhere / "small.json" / "below")


def test_without_a_checkout_a_source_has_to_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "CHECKOUT", tmp_path / "none")
    for call in (zoo.manifest, lambda: zoo.get("small")):
        with pytest.raises(InputError, match="give --from"):
            call()


def test_the_commands_list_and_fetch(elsewhere: Path, tmp_path: Path) -> None:
    (row,) = json.loads(command("models", "ls", "--from", elsewhere, "--json").stdout)["networks"]
    assert (row["name"], row["value"], row["bytes"]) == ("small", 0.9, len(CONTENTS[f"small{zoo.MODEL}"]))
    assert "accuracy 0.9 (0.8 to 1)" in command("models", "ls", "--from", elsewhere).stdout
    got = command("models", "get", "small", "--from", elsewhere, "--to", tmp_path / "to")
    assert got.stdout.split() == [str(tmp_path / "to" / name) for name in CONTENTS]
    unknown = command("models", "get", "smal", "--from", elsewhere)
    assert unknown.returncode == 2
    assert 'did you mean "small"?' in unknown.stderr


@pytest.mark.skipif("digits_hdlif" not in NETWORKS, reason="no zoo is here")
def test_commands_take_the_name_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x, _ = hdlif.data.digits(validation=200).test.sequence(torch.arange(1))
    np.save("one.npy", x[0, 0].numpy())
    (by_name,) = hdlif.predict("digits_hdlif", "one.npy")
    (by_path,) = hdlif.predict(zoo.CHECKOUT / "digits_hdlif.hdlif.safetensors", "one.npy")
    assert by_name == by_path
    ran = command("run", "digits_hdlif", "one.npy", "--json")
    assert json.loads(ran.stdout)["inputs"][0]["class"] == by_path["class"]
    exported = hdlif.export("digits_hdlif", tmp_path / "net.hdlif.safetensors")
    assert exported.read_bytes() == (zoo.CHECKOUT / "digits_hdlif.hdlif.safetensors").read_bytes()
    assert hdlif.load("digits_hdlif").recipe.name == "digits_hdlif"
    served = create_app(name_artefacts(["digits_hdlif", "mine=digits_hdlif"]))
    assert [network.path for network in served.models] == [zoo.CHECKOUT / "digits_hdlif.hdlif.safetensors"] * 2
    wrong = command("run", "digits_hdlf", "one.npy")
    assert wrong.returncode == 2
    assert 'did you mean "digits_hdlif"?' in wrong.stderr
