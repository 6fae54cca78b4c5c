"""Findings and table: what is best, by how much, and how it is printed."""

from dataclasses import replace

from hdlif.ops import SampleName
from hdlif.report.comparison import aligned, findings, table
from hdlif.runs.summary import TrainResult


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


def test_a_lead_is_noise_below_twice_its_standard_error(networks):
    # With p = 0.925 and 2 * sqrt(2 p (1 - p) / n): 7.5 points of 100, 3.7 of 400, and 2.5 of 900.
    for count, noise in ((100, True), (400, True), (900, False)):
        lif, hdlif = (
            replace(network, accuracy=accuracy, test_samples=count)
            for network, accuracy in zip(networks, (0.91, 0.94), strict=False)
        )
        assert ("noise" in findings([lif, hdlif])[0]) == noise, count


def test_steps_with_a_class_each_are_not_counted_as_samples(networks):
    task = {"kind": "sequence"}
    assert findings([replace(networks[0], test_samples=9, task=task)])[0].endswith("test samples correctly (one run).")


def test_findings_state_a_loss_as_a_loss(networks):
    lif, hdlif, low_bit = networks
    low_bit = replace(low_bit, energy_mj_honest=4 * lif.energy_mj_honest)
    assert findings([lif, hdlif, low_bit])[2].endswith("by the paper’s count, 4 times more by the honest count.")
    assert findings([replace(lif, accuracy=0.99), replace(hdlif, energy_mj=1.0)]) == [
        "No network is more accurate than the LIF baseline, at 99.00 % (one run per network).",
        "No network is smaller as stored than the LIF baseline, at 0.324 MB.",
        "No network needs less energy than the LIF baseline by the paper’s count.",
    ]


def test_networks_alike_in_size_share_the_finding(networks):
    twin = replace(networks[2], name="twin", stored_mb=1.001 * networks[2].stored_mb)
    assert findings([*networks, twin])[1].startswith("hdlif_w1p5_s4 and twin take 16.2 kB")


def test_without_baseline_size_is_measured_against_32_bit_floats_if_it_is_smaller(networks):
    assert findings([replace(networks[2], fp32_mb=0.324)]) == [
        "hdlif_w1p5_s4 classifies 96.67 % of the test samples correctly (one run).",
        "hdlif_w1p5_s4 takes 16.2 kB as stored, 20 times less than in 32-bit floats.",
    ]
    for fp32_mb in (0.32, 0.325):
        assert findings([replace(networks[0], stored_mb=0.324, fp32_mb=fp32_mb)])[1] == "lif takes 0.324 MB as stored."


def test_findings_say_what_a_sample_is(networks):
    windows = SampleName("window", "windows")
    assert findings(networks[:1], windows)[0] == "lif classifies 95.00 % of the test windows correctly (one run)."
    assert "energy per window than" in findings(networks, windows)[2]


def test_a_row_has_the_name_of_the_recipe_where_the_network_is_called_otherwise(networks):
    photos = replace(networks[0], name="photos")
    plain = replace(networks[1], name="digits_hdlif")
    unknown = TrainResult(name="bare", accuracy=0.5, accuracy_per_step=())
    assert table([photos, plain, unknown]).recipes == ["digits_lif", None, None]
    # What its recipe is called makes a network the baseline.
    assert "points above the LIF baseline" in findings([photos, plain])[0]


def test_two_lif_networks_are_no_baseline(networks):
    seeds = [replace(networks[0], name=name) for name in ("digits_lif", "cifar100_lif")]
    assert not any("baseline" in sentence for sentence in findings([*seeds, networks[1]]))


def test_findings_leave_out_what_is_not_known(networks):
    whole = findings(networks)
    for key in ("stored_mb", "energy_mj", "energy_mj_honest"):
        left = findings([replace(network, **{key: None}) for network in networks])
        assert left != whole, key
        assert all(any(sentence.rstrip(".") in full for full in whole) for sentence in left), key


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


def test_energy_unit_follows_its_size(networks):
    assert ("Energy, µJ", 2) in table(networks).groups
    networks[0] = replace(networks[0], energy_mj=0.25)
    assert ("Energy, mJ", 2) in table(networks).groups


def test_aligned_numbers_share_their_decimals():
    assert aligned([44.6, 2.82, None]) == ["44.60", "2.82", "—"]
    assert aligned([0.0, None]) == ["0", "—"]
    assert aligned([12345.6, 3100.0]) == ["12,346", "3,100"]
