"""Findings and table: what is best, by how much, and how it is printed."""

from dataclasses import replace

from hdlif.graph.ops import SampleName
from hdlif.report.comparison import findings, table


def test_findings_measure_against_the_lif_baseline(networks):
    accuracy, size, energy = findings(networks)
    assert "97.22 %" in accuracy
    assert "2.22 points above the LIF baseline" in accuracy
    assert all(words in size for words in ("hdlif_w1p5_s4", "16.2 kB", "20 times less"))
    assert all(words in energy for words in ("hdlif_w1p5_s4", "10 times less", "3 times less"))


def test_the_headline_says_what_a_test_sample_is_worth_and_what_is_noise(networks):
    lif, hdlif, low_bit = (
        replace(network, accuracy=right / 9, test_samples=9) for network, right in zip(networks, (6, 8, 7), strict=True)
    )
    images = SampleName("image", "images")
    for shown, against in (([lif, hdlif, low_bit], "the LIF baseline"), ([hdlif, low_bit], "hdlif_w1p5_s4")):
        headline = findings(shown, images)[0]
        assert headline.startswith("hdlif is the most accurate, at 88.89 % of 9 test images (one image is 11 points")
        assert against in headline
        assert "noise" in headline
    assert "noise" not in findings([hdlif], images)[0]
    # Steps with a class each are not counted as samples.
    assert "of 9" not in findings([replace(networks[0], test_samples=9, task={"kind": "sequence"})])[0]


def test_cells_that_print_alike_are_equally_best_and_a_column_without_difference_has_no_best(networks):
    networks[0] = replace(networks[0], accuracy=0.97221)
    columns = table(networks)
    assert [cells[0] for _, cells in columns.rows] == [("97.22", True), ("97.22", True), ("96.67", False)]
    nops = columns.headings.index("NOPs")
    assert not any(cells[nops][1] for _, cells in columns.rows)


def test_which_end_of_a_metric_is_best_follows_its_name_or_what_its_author_states(networks):
    def best(**changed: object) -> list[bool]:
        two = [replace(networks[0], metrics={"rmse": value, "own": value}, **changed) for value in (1.0, 2.0)]
        made = table(two)
        _, cells = made.rows[0]
        return [cells[made.headings.index(name)][1] for name in ("rmse", "own")]

    assert best() == [True, False]
    assert best(larger_is_better={"own": False}) == [True, True]
    assert best(larger_is_better={"rmse": None}) == [False, False]
