"""The tables of data that settings were not chosen for."""

from figures.tables.unseen import left_out


def test_a_set_that_is_left_out_has_no_say_in_the_setting_it_is_measured_with() -> None:
    accuracies = {"a": {"x": 1.0, "y": 0.5, "z": 0.6}, "b": {"x": 0.0, "y": 0.6, "z": 0.7}}
    # Of y and z alone b is the better one, though a is on average.
    assert left_out(accuracies) == {"x": "b", "y": "a", "z": "a"}
