"""Which records state how they were measured, and which do not."""

from figures import records
from figures.markdown import table
from figures.registry import Record, figure
from figures.registry import table as registered
from hdlif.report.provenance import NOT_RECORDED

STATED = ("command", "commit", "hardware", "versions", "seeds")


def missing(record: Record) -> tuple[str, ...]:
    """Return the parts of its provenance that a record lacks.

    >>> missing({"command": "hdlif demo", "commit": "not recorded", "hardware": "", "versions": {}, "seeds": [1]})
    ('commit',)
    """
    return tuple(key for key in STATED if NOT_RECORDED in str(record[key]) or record[key] == "one seed")


def by_missing() -> dict[tuple[str, ...], list[str]]:
    """Group the names of all records by what they lack, the complete ones first."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name in records.names():
        found.setdefault(missing(records.record(name)), []).append(name)
    return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))


@registered("provenance", None)
def _(_: Record) -> str:
    rows = [
        [", ".join(lacks) or "nothing", str(len(names)), ", ".join(f"`{name}`" for name in names)]
        for lacks, names in by_missing().items()
    ]
    return table(["not recorded", "records", "names"], rows)


figure("provenance/records")(lambda: str(len(records.names())))
figure("provenance/complete")(lambda: str(len(by_missing().get((), []))))
