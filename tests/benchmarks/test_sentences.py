"""The sample of sentences: what counts as one, and that the seed alone decides which are drawn."""

import sys

import pytest

import sentences

PAGE = """\
# A heading of many words here

One sentence of five words. Another one of *five* words: `code`. Too short.

    a command of five words or more

- An item of a list is one. And so is this one too.
- A second item with words enough.

| a | table | of | many | words |

```python
print("code is left out here")
```
"""


def test_sentences_are_those_of_paragraphs_and_lists() -> None:
    assert list(sentences.sentences(PAGE)) == [
        "One sentence of five words.",
        "Another one of *five* words: `code`.",
        "An item of a list is one.",
        "And so is this one too.",
        "A second item with words enough.",
    ]


def test_the_seed_chooses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    for seed in ("a", "a", "b"):
        monkeypatch.setattr(sys, "argv", ["sentences.py", "--count", "3", "--seed", seed])
        assert sentences.main() == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]
    assert [line.split(". ")[0] for line in printed[0].splitlines()[1:4]] == ["1", "2", "3"]
