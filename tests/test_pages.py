"""A page is followed in its order, and refused where it shows what was not printed."""

from pathlib import Path

import pytest

from pages import check_output, followed, steps

PAGE = """# A page

```python title="ours.py"
NAME = "digits"
```

    hdlif --version

```text
hdlif …
```

```python
import ours

print(ours.NAME, 3)
```

```text title="yours will differ"
digits 4
```

    make -C nowhere run

```text
built
```
"""


def test_the_steps_of_a_page_are_in_its_order() -> None:
    assert [step.kind for step in steps(PAGE)] == ["file", "command", "output", "python", "output", "command", "output"]


def test_a_page_is_followed_with_its_files_and_without_a_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = followed(PAGE, tmp_path, monkeypatch, without=["make"])
    assert list(said) == ["--version"]
    assert (tmp_path / "ours.py").read_text() == 'NAME = "digits"\n'


def test_a_page_that_shows_what_was_not_printed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="the page shows 'digits 4', and printed was"):
        followed(PAGE.replace(' title="yours will differ"', ""), tmp_path, monkeypatch, without=["make"])


def test_a_command_that_fails_is_named_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"hdlif eval nowhere ended with 2: .*nowhere"):
        followed("    hdlif eval nowhere\n", tmp_path, monkeypatch)


@pytest.mark.parametrize("shown", ["b 2", "a  1\nb 2", "… 1", "a …\nb …"])
def test_lines_in_their_order_are_shown_rightly(shown: str) -> None:
    check_output(shown, "a 1\nbetween\nb   2\n")


@pytest.mark.parametrize("shown", ["b 2\na 1", "a 2", "a", "b 2\nb 2"])
def test_other_lines_are_not(shown: str) -> None:
    with pytest.raises(AssertionError, match="the page shows"):
        check_output(shown, "a 1\nb 2\n")


def test_numbers_that_differ_are_numbers_still() -> None:
    check_output("1,234 bytes, 9.5%", "87 bytes, 100.0%", numbers_differ=True)
    check_output("a.png: cat (90.2%)", "a.png: dog (51%)", numbers_differ=True)
    check_output("cat  12  ·  92.3%", "cat  ·  9  100%", numbers_differ=True)
    with pytest.raises(AssertionError, match="the page shows"):
        check_output("1,234 bytes", "many bytes", numbers_differ=True)
