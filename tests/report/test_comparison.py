"""Findings and table: what is best, by how much, and how it is printed."""

from dataclasses import replace

import pytest

from hdlif.report.comparison import aligned, findings, table


def test_findings_measure_against_the_lif_baseline(networks):
    assert findings(networks) == [
        "hdlif is the most accurate, at 97.22 %, 2.22 points above the LIF baseline.",
        "hdlif_w1p5_s4 takes 16.2 kB as stored, 20 times less than the LIF baseline.",
        "hdlif_w1p5_s4 needs 10 times less energy per image than the LIF baseline by the paper’s count, "
        "3 times less by the honest count.",
    ]


def test_findings_state_a_loss_as_a_loss(networks):
    lif, hdlif, low_bit = networks
    low_bit = replace(low_bit, energy_mj_honest=4 * lif.energy_mj_honest)
    assert findings([lif, hdlif, low_bit])[2].endswith("by the paper’s count, 4 times more by the honest count.")
    assert findings([replace(lif, accuracy=0.99), replace(hdlif, energy_mj=1.0)]) == [
        "No network is more accurate than the LIF baseline, at 99.00 %.",
        "No network is smaller as stored than the LIF baseline, at 0.324 MB.",
        "No network needs less energy than the LIF baseline by the paper’s count.",
    ]


def test_networks_alike_in_size_share_the_finding(networks):
    twin = replace(networks[2], name="twin", stored_mb=1.001 * networks[2].stored_mb)
    assert findings([*networks, twin])[1].startswith("hdlif_w1p5_s4 and twin take 16.2 kB")


def test_without_baseline_size_is_measured_against_32_bit_floats(networks):
    assert findings([replace(networks[2], fp32_mb=0.324)]) == [
        "hdlif_w1p5_s4 classifies 96.67 % of the test images correctly.",
        "hdlif_w1p5_s4 takes 16.2 kB as stored, 20 times less than in 32-bit floats.",
    ]


def test_two_lif_networks_are_no_baseline(networks):
    seeds = [replace(networks[0], name=name) for name in ("digits_lif", "cifar100_lif")]
    assert not any("baseline" in sentence for sentence in findings([*seeds, networks[1]]))


@pytest.mark.parametrize("key", ["stored_mb", "energy_mj", "energy_mj_honest"])
def test_findings_leave_out_what_is_not_known(networks, key):
    unknown = [replace(network, **{key: None}) for network in networks]
    whole = findings(networks)
    left = findings(unknown)
    assert left != whole
    assert all(any(sentence.rstrip(".") in full for full in whole) for sentence in left)


def test_cells_that_print_alike_are_equally_best(networks):
    networks[0] = replace(networks[0], accuracy=0.97221)
    accuracy = [cells[0] for _, cells in table(networks).rows]
    assert [(cell.text, cell.best) for cell in accuracy] == [("97.22", True), ("97.22", True), ("96.67", False)]


def test_column_without_difference_has_no_best(networks):
    columns = table(networks)
    nops = columns.headings.index("NOPs")
    assert not any(cells[nops].best for _, cells in columns.rows)


def test_energy_unit_follows_its_size(networks):
    assert ("Energy, µJ", 2) in table(networks).groups
    networks[0] = replace(networks[0], energy_mj=0.25)
    assert ("Energy, mJ", 2) in table(networks).groups


def test_aligned_numbers_share_their_decimals():
    assert aligned([44.6, 2.82, None]) == ["44.60", "2.82", "—"]
    assert aligned([0.0, None]) == ["0", "—"]
    assert aligned([12345.6, 3100.0]) == ["12,346", "3,100"]
