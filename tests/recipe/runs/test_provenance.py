"""Where a measurement says it comes from."""

from hdlif.report.build_info import build
from hdlif.report.provenance import command, measured


def test_command_names_no_folder_of_this_machine() -> None:
    assert command(["/opt/bin/hdlif", "ablate", "digits", "--out", "/tmp/runs"]) == "hdlif ablate digits --out runs"
    script = ["/home/me/hdlif/benchmarks/bench_rules.py", "--rules", "STBP;random step"]
    assert command(script) == "python benchmarks/bench_rules.py --rules 'STBP;random step'"


def test_commit_is_stated() -> None:
    assert measured(None)["commit"] == (build().commit or "not recorded")
