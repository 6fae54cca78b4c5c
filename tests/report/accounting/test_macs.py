"""Dense multiply-accumulates against brute force, against counted operations, and the published networks' own."""

from collections import Counter

import numpy as np
import pytest
import torch

from cases import every
from deployed_graphs import Builder
from hdlif.graph.artefact import INPUT
from hdlif.report.accounting import dense_macs, profile
from report.accounting.test_operations import brute_force_pairs, published_graph


@every(padding=[0, 1, 2], stride=[1, 2])
def test_counts_of_a_convolution_equal_brute_force(stride: int, padding: int) -> None:
    b = Builder((3, 7, 6), 4, 0)
    geometry = {"stride": (stride, stride), "padding": (padding, padding)}
    graph = b.graph(b.parallel(b.conv(b.parallel(INPUT), 5, encoding="float32", **geometry)))
    conv, x = graph.nodes[1], np.ones((1, 3, 7, 6))
    taps = np.ones(conv.tensors["weight"].shape)
    assert dense_macs(graph, padding=False)[conv.name] == brute_force_pairs(x, taps, stride, padding)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=1)
    assert dense_macs(graph)[conv.name] == brute_force_pairs(padded, taps, stride, 0)


def test_counts_of_a_dilated_grouped_convolution_are_those_of_its_groups() -> None:
    """6 of 3 channels in 3 groups, 2x3 with dilation 3x2; rows 7 - 3: 4 places; columns 6 + 2·2 - 4: 6.

    The three taps of a row meet 6 columns in 4, 6 and 4 of the 6 places.
    """
    b = Builder((3, 7, 6), 4, 0)
    grouped = {"kernel": (2, 3), "dilation": (3, 2), "padding": (0, 2), "groups": 3}
    conv = b.conv(b.quantise(INPUT, offset=1.0), 6, encoding="binary", **grouped)
    graph = b.graph(conv)
    assert dense_macs(graph)[conv] == 6 * (2 * 4) * (3 * 6)
    assert dense_macs(graph, padding=False)[conv] == 6 * (2 * 4) * (4 + 6 + 4)
    (layer,) = (row for row in profile(graph, torch.ones(4, 1, 3, 7, 6)).layers if row.name == conv)
    assert layer.sops == 4 * 6 * (2 * 4) * (4 + 6 + 4)
    assert layer.params_mb == pytest.approx(6 * 2 * 3 * 2 / 8e6)
    assert layer.stored_mb == pytest.approx(5e-6)


# Stem, body without shortcuts, shortcuts, classifier: with padding, and without. Then the sums in print, in millions:
# shortcuts are of the body, and so is the first layer of the VGGs; VGG13's without padding is in none.
PUBLISHED = {
    "resnet18_cifar10": [
        (1_769_472, 547_356_672, 6_291_456, 5_120, "553.65"),
        (1_696_512, 473_866_240, 6_291_456, 5_120, "480.16"),
    ],
    "resnet18_cifar100": [
        (1_769_472, 547_356_672, 6_291_456, 51_200, "553.65"),
        (1_696_512, 473_866_240, 6_291_456, 51_200, "480.16"),
    ],
    "resnet18_dvs": [
        (2_654_208, 1_231_552_512, 14_155_776, 5_120, "1245.71"),
        (2_580_992, 1_119_133_696, 14_155_776, 5_120, "1133.29"),
    ],
    "resnet34": [
        (118_013_952, 3_525_967_872, 19_267_584, 512_000, "3545.24"),
        (116_214_528, 3_238_928_384, 19_267_584, 512_000, "3258.20"),
    ],
    "vgg_snn": [
        (2_654_208, 1_358_954_496, 0, 46_080, "1361.61"),
        (2_580_992, 1_235_648_512, 0, 46_080, "1238.23"),
    ],
    "vgg13": [
        (7_077_888, 1_019_215_872, 0, 102_400, "1026.29"),
        (6_931_200, 916_439_040, 0, 102_400, "923.37"),
    ],
}


@every(name=list(PUBLISHED))
def test_published_networks_to_the_last_digit(name: str) -> None:
    graph = published_graph(name)
    for padding, expected in zip((True, False), PUBLISHED[name], strict=True):
        counts: Counter[str] = Counter()
        for layer, macs in dense_macs(graph, padding=padding).items():
            counts["shortcut" if ".shortcut." in layer else layer.split(".")[0]] += macs
        assert counts.keys() <= {"stem", "body", "shortcut", "classifier"}
        of_body = counts["body"] + counts["shortcut"] + counts["stem"] * name.startswith("vgg")
        found = counts["stem"], counts["body"], counts["shortcut"], counts["classifier"], f"{of_body / 1e6:.2f}"
        assert found == expected
