import pytest

import hdlif


def test_the_version_is_found_when_it_is_asked_for() -> None:
    assert hdlif.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'versoin'"):
        hdlif.versoin  # noqa: B018
