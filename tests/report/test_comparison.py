"""Findings and table: what is best, by how much, and how it is printed."""

from dataclasses import replace

from hdlif.graph.ops import SampleName
from hdlif.report.comparison import findings, table


def test_findings_measure_against_the_lif_baseline(networks):
    assert findings(networks) == [
        "hdlif is the most accurate, at 97.22 % (one run per network), 2.22 points above the LIF baseline.",
        "hdlif_w1p5_s4 takes 16.2 kB as stored, 20 times less than the LIF baseline.",
        "hdlif_w1p5_s4 needs 10 times less energy per sample than the LIF baseline by the paper’s count, "
        "3 times less by the honest count.",
    ]


def test_the_headline_says_what_a_test_sample_is_worth_and_what_is_noise(networks):
    lif, hdlif, low_bit = (
        replace(network, accuracy=right / 9, test_samples=9) for network, right in zip(networks, (6, 8, 7), strict=True)
    )
    images = SampleName("image", "images")
    at = "at 88.89 % of 9 test images (one image is 11 points; one run per network)"
    noise = "is within the noise of so few test images."
    assert findings([lif, hdlif, low_bit], images)[0] == (
        f"hdlif is the most accurate, {at}, 22.22 points above the LIF baseline, which {noise}"
    )
    assert findings([hdlif, low_bit], images)[0] == (
        f"hdlif is the most accurate, {at}; the lead over hdlif_w1p5_s4 {noise}"
    )
    assert findings([hdlif], images)[0] == (
        "hdlif classifies 88.89 % of 9 test images correctly (one image is 11 points; one run)."
    )


def test_steps_with_a_class_each_are_not_counted_as_samples(networks):
    task = {"kind": "sequence"}
    assert findings([replace(networks[0], test_samples=9, task=task)])[0].endswith("test samples correctly (one run).")


def test_cells_that_print_alike_are_equally_best_and_a_column_without_difference_has_no_best(networks):
    networks[0] = replace(networks[0], accuracy=0.97221)
    columns = table(networks)
    assert [cells[0] for _, cells in columns.rows] == [("97.22", True), ("97.22", True), ("96.67", False)]
    nops = columns.headings.index("NOPs")
    assert not any(cells[nops][1] for _, cells in columns.rows)


def test_which_end_of_a_metric_is_best_follows_its_name_or_what_its_author_states(networks):
    def best(**changed: object) -> list[bool]:
        two = [replace(networks[0], name=name, metrics=metrics, **changed)
               for name, metrics in (("a", {"rmse": 1.0, "own": 1.0}), ("b", {"rmse": 2.0, "own": 2.0}))]  # fmt: skip
        return [cells[headings.index(name)][1] for headings, (_, cells) in [(table(two).headings, table(two).rows[0])]
                for name in ("rmse", "own")]  # fmt: skip

    assert best() == [True, False]
    assert best(larger_is_better={"own": False}) == [True, True]
    assert best(larger_is_better={"rmse": None}) == [False, False]
