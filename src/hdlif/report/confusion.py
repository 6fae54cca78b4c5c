"""Which class is taken for which: a matrix for each network, or the commonest confusions where classes are many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hdlif.ops import SAMPLE, SampleName
from hdlif.report.figures import Figure, dots
from hdlif.report.runs import Confusion

# A larger matrix is read by nobody, and its table would be wider than any screen.
_WHOLE = 20
_CLASSES = 40
# Characters of headings, with room between them, of a table that takes half of a printed page.
_BESIDE = 48


@dataclass(frozen=True)
class Count:
    """A cell; `share` of the row, which shades it."""

    text: str
    share: float = 0.0


@dataclass(frozen=True)
class Matrix:
    """A table of counts of what `of` says, one row a true class."""

    name: str
    of: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Count]]]
    whole: bool

    @property
    def broad(self) -> bool:
        """Whether a printed page has room for one beside another."""
        return sum(len(heading) + 2 for heading in self.headings) > _BESIDE


def matrices(confusions: Mapping[str, Confusion], samples: SampleName = SAMPLE) -> list[Matrix]:
    """One for each network, in their order; `samples` says what is counted, where it is not steps."""
    return [
        (_matrix if len(confusion["labels"]) <= _WHOLE else _commonest)(
            name, confusion.get("of", samples.many), confusion
        )
        for name, confusion in confusions.items()
    ]


def _matrix(name: str, of: str, confusion: Confusion) -> Matrix:
    labels = confusion["labels"]
    rows = []
    for label, counts in zip(labels, confusion["counts"], strict=True):
        shown = sum(counts) or 1
        rows.append((label, [Count(str(n) if n else "·", n / shown) for n in counts]))
    return Matrix(name, of, ["true class", *labels], rows, whole=True)


def _commonest(name: str, of: str, confusion: Confusion) -> Matrix:
    labels, counts = confusion["labels"], confusion["counts"]
    pairs = sorted(
        ((n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    rows = [
        (labels[i], [Count(labels[j]), Count(str(n)), Count(f"{100 * n / sum(counts[i]):.1f} %")])
        for n, i, j in pairs[:_WHOLE]
    ]
    return Matrix(name, of, ["true class", "taken for", of, "of the class"], rows, whole=False)


def accuracy_by_class(names: Sequence[str], confusions: Mapping[str, Confusion]) -> Figure:
    """A row for each class; those that are worst on average where classes are many."""
    values = [_accuracies(confusions[name]) if name in confusions else {} for name in names]
    caption = "Test accuracy of each class (%)."
    labels = list(dict.fromkeys(label for of_one in values for label in of_one))
    if len(labels) > _CLASSES:
        caption = f"Test accuracy (%) of the {_CLASSES} classes that are worst on average."
        worst = sorted(labels, key=lambda label: _mean([of_one.get(label) for of_one in values]))[:_CLASSES]
        values = [{label: of_one[label] for label in worst if label in of_one} for of_one in values]
    return dots("accuracy-by-class", caption, names, values, x_label="accuracy, %", rows_are="class", within=(0, 100))


def _accuracies(confusion: Confusion) -> dict[str, float | None]:
    return {
        label: 100 * row[i] / sum(row) if sum(row) else None
        for i, (label, row) in enumerate(zip(confusion["labels"], confusion["counts"], strict=True))
    }


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 100.0
