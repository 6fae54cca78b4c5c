"""`hdlif report`: from run folders to a page on disk."""

import sys

import pytest

from hdlif.cli.report import report
from hdlif.errors import InputError, MissingExtraError, TrainingError


def test_demo_gets_its_page_beside_its_summary(demo):
    assert report([demo]) == {"report": str(demo / "report.html")}
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "<h1>3 networks on digits</h1>" in page
    assert f"hdlif demo --data digits --out {demo.as_posix()}" in page
    assert not list(demo.glob("*.tmp"))


def test_runs_side_by_side_go_to_the_current_folder(make_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report([make_run("lif"), make_run("my run")]) == {"report": "report.html"}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>2 networks compared</h1>" in page
    # A command that can be pasted: the space is quoted.
    folder = (tmp_path / "my run").as_posix()
    assert f"hdlif train &#39;{folder}/recipe.yaml&#39; --out &#39;{folder}&#39;" in page


def test_old_page_stays_when_a_run_is_damaged(make_run):
    folder = make_run()
    page = folder / "report.html"
    page.write_text("old")
    (folder / "metrics.jsonl").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.jsonl line 1"):
        report([folder])
    assert page.read_text() == "old"


def test_what_cannot_be_reported_or_written_is_refused(make_run):
    folder = make_run()
    for runs, neurons in (([], None), ([folder], "act1:0")):
        with pytest.raises(InputError):
            report(runs, neurons=neurons)
    (folder / "report.html").mkdir()
    with pytest.raises(TrainingError, match=r"report\.html"):
        report([folder])


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_missing_package_names_the_extra(make_run, monkeypatch, package):
    for module in [name for name in sys.modules if name.startswith("hdlif.report")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} .*hdlif\[train\]"):
        report([make_run()])
