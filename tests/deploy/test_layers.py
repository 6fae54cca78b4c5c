"""Plain layers of a user's own network: trained, lowered and run, they compute the same."""

import pytest
import torch
from torch import nn

from cases import every
from deployed_networks import lowered, outputs
from hdlif import deploy
from hdlif.errors import LoweringError
from hdlif.graph.artefact import Graph, infer_values
from hdlif.models import Network
from hdlif.nn import (
    HDLIF,
    SECA,
    BatchNorm1d,
    BatchNorm2d,
    Carrying,
    Integer,
    QuantConv1d,
    QuantConv2d,
    Sequential,
    SpikeQuantizer,
    Ternary,
    WeightQuantizer,
)
from hdlif.report.accounting.activity import activity
from hdlif.report.accounting.outline import outline
from hdlif.runtime import Session

T = 3


def dyadic(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights, and statistics of norms, on a grid where sums are exact."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if name.rpartition(".")[2] in ("weight", "bias", "running_mean"):
            value.data = torch.randint(-4, 5, value.shape, generator=generator) / 4
        elif name.endswith("running_var"):
            value.data = torch.full(value.shape, 4.0)
    for norm in module.modules():
        if isinstance(norm, BatchNorm2d):
            norm.eps = 0.0
    return module.eval()


def frames(*shape: int) -> torch.Tensor:
    return torch.randint(-4, 5, (T, 4, *shape), generator=torch.Generator().manual_seed(1)) / 4


def mapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A sequence is a map of one row."""
    return shape if len(shape) == 3 else (shape[0], 1, *shape[1:])


def assert_deploys(network: Sequential, shape: tuple[int, ...], *, exact: bool = True) -> Graph:
    """The module, its fold and the compiled runtime give the same logits."""
    x = frames(*shape)
    graph = lowered(network, mapped(shape), time_steps=T)
    seen = x.view(T, 4, *mapped(shape))
    expected, folded = outputs(network, x), outputs(deploy.GraphModule(graph), seen)
    tolerance = {"atol": 0.0, "rtol": 0.0} if exact else {"atol": 1e-5, "rtol": 1e-5}
    assert expected.std() > 0
    torch.testing.assert_close(folded, expected, **tolerance)
    torch.testing.assert_close(torch.from_numpy(Session(graph, 1).run(seen.numpy())), expected, **tolerance)
    return graph


def test_dropout_and_identity_do_nothing_in_a_deployed_network():
    def network(*between: nn.Module) -> Sequential:
        torch.manual_seed(0)
        conv = QuantConv2d(2, 4, 3, padding=1, quantizer=Integer(4))
        return dyadic(Sequential(conv, HDLIF(T), *between, nn.Flatten(), nn.Linear(4 * 5 * 6, 5)))

    between = nn.Identity(), nn.Dropout2d(0.3), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.9))
    graphs = assert_deploys(network(*between), (2, 5, 6)), assert_deploys(network(), (2, 5, 6))
    seen = [[(node.op, dict(node.attributes)) for node in graph.nodes] for graph in graphs]
    assert seen[0] == seen[1]


QUANTIZERS = {"float": None, "ternary": Ternary(), "integer": Integer(4)}


@every(
    geometry=[
        {"dilation": 2, "padding": 2},
        {"groups": 4, "padding": 1},
        {"groups": 2, "dilation": 2, "stride": 2, "padding": 3},
    ],
    quantizer=QUANTIZERS,
)
def test_dilated_and_grouped_convolutions_compute_what_was_trained(
    geometry: dict[str, int], quantizer: WeightQuantizer | None
):
    spikes = SpikeQuantizer(bits=4)
    network = Sequential(
        nn.Conv2d(2, 4, (3, 2), dilation=(1, 2), groups=2),
        HDLIF(T, quantizer=spikes),
        QuantConv2d(4, 8, 3, quantizer=quantizer, **geometry),
        BatchNorm2d(8),
        HDLIF(T),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    # the scale of a channel is no dyadic number where weights are quantised
    assert_deploys(dyadic(network), (2, 9, 8), exact=False)


def test_padding_by_name_is_lowered_as_numbers():
    network = Sequential(
        nn.Conv2d(2, 3, (3, 5), padding="same", dilation=(2, 1)),
        nn.Conv2d(3, 2, 2, padding="valid"),
        nn.Flatten(),
        nn.Linear(2 * 4 * 5, 5),
    )
    assert_deploys(dyadic(network), (2, 5, 6))


@every(end=[-1, 3])
def test_a_flatten_of_all_axes_by_number_is_lowered(end: int):
    assert_deploys(dyadic(Sequential(nn.Flatten(1, end), nn.Linear(60, 5), nn.Flatten())), (2, 5, 6))


def temporal(quantizer: WeightQuantizer | None, *attention: nn.Module, pool: nn.Module | None = None) -> Sequential:
    """A network of sequences: dilated, depthwise and pointwise convolutions, as temporal networks have them."""
    spikes = SpikeQuantizer(bits=4)
    return Sequential(
        nn.Conv1d(2, 4, 3, padding=1, bias=False),
        BatchNorm1d(4),
        *attention,
        HDLIF(T, channels=4, quantizer=spikes),
        nn.AvgPool1d(2),
        QuantConv1d(4, 4, 3, padding=4, dilation=4, groups=4, quantizer=quantizer),
        QuantConv1d(4, 6, 1, quantizer=quantizer),
        BatchNorm1d(6, time_steps=T),
        HDLIF(T, quantizer=spikes),
        nn.MaxPool1d(3, stride=2, padding=1),
        nn.Dropout1d(0.5),
        pool or nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(6 if pool is None else 24, 8),
        BatchNorm1d(8),
        HDLIF(T),
        nn.Linear(8, 5),
    )


@every(quantizer=QUANTIZERS, pool={"pooled": None, "flat": nn.Identity()})
def test_a_network_of_sequences_computes_what_was_trained(quantizer: WeightQuantizer | None, pool: nn.Module | None):
    assert_deploys(dyadic(temporal(quantizer, pool=pool)), (2, 16), exact=False)


@every(time_steps=[None, T])
def test_attention_on_sequences_computes_what_was_trained(time_steps: int | None):
    torch.manual_seed(0)
    network = dyadic(temporal(Ternary(), SECA(4, kernel_size=3, time_steps=time_steps)))
    assert_deploys(network, (2, 16), exact=False)
    rows = {layer.name: layer.shape for layer in outline(Carrying(network), frames(2, 16), time_steps=T).layers}
    # Attention, and the neurons after it.
    assert rows["model.2"] == rows["model.3"] == (4, 1, 16)


def test_a_network_of_sequences_is_counted_as_its_maps_of_one_row():
    stem, *body, classifier = dyadic(temporal(Ternary())).children()
    network = Network(stem=stem, body=Sequential(*body), head=nn.Identity(), classifier=classifier).eval()
    x, graph = frames(2, 16), lowered(network, (2, 1, 16), time_steps=T)
    counts, expected = activity(network, x, time_steps=T), activity(graph, x.unsqueeze(3))
    assert counts.pairs == expected.pairs
    assert counts.pairs["body.3"] > 0
    shapes = {layer.name: layer.shape for layer in outline(network, x, time_steps=T).layers}
    assert (shapes["stem"], shapes["body.3"], shapes["body.11"]) == ((4, 1, 16), (4, 1, 8), (8,))


@every(
    "layer",
    "shape",
    of=[
        (nn.Upsample(scale_factor=2), (2, 3, 4)),
        (nn.Upsample(scale_factor=(3, 1), mode="nearest-exact"), (2, 3, 4)),
        (nn.Upsample(size=(6, 12)), (2, 3, 4)),
        (nn.UpsamplingNearest2d(scale_factor=2), (2, 1, 4)),
        (nn.Upsample(scale_factor=(3,)), (2, 4)),
        (nn.Upsample(size=(8,)), (2, 4)),
    ],
)
def test_nearest_upsampling_computes_what_was_trained(layer: nn.Module, shape: tuple[int, ...]):
    spikes = HDLIF(T, quantizer=SpikeQuantizer(bits=4))
    flat = layer(torch.zeros(1, *shape)).numel()
    graph = assert_deploys(dyadic(Sequential(spikes, layer, nn.Flatten(), nn.Linear(flat, 5))), shape)
    (name,) = (node.name for node in graph.nodes if node.op == "upsample")
    assert infer_values(graph)[name].max_code == 15


SHAPE = (2, 6, 8)


def of_one(layer: nn.Module) -> Sequential:
    return Sequential({"layer": layer, "flat": nn.Flatten()})


@every(
    pool=[
        nn.AdaptiveAvgPool2d((6, 8)),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.AdaptiveAvgPool2d((12, 8)),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2, divisor_override=3),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(4, 2, 1, ceil_mode=True),
    ]
)
def test_pools_that_pytorch_states_in_other_words_compute_what_it_does(pool: nn.Module):
    x = torch.randn(1, 3, *SHAPE, generator=torch.Generator().manual_seed(0))
    expected = pool(x[0]).flatten(1)
    graph = lowered(of_one(pool), SHAPE, labels=tuple(map(str, range(expected.shape[1]))), time_steps=1)
    torch.testing.assert_close(torch.from_numpy(Session(graph).run(x.numpy()))[0], expected)


SEQUENCES = (
    nn.Conv1d(2, 3, 3),
    QuantConv1d(2, 3, 3),
    BatchNorm1d(2),
    nn.MaxPool1d(2),
    nn.AvgPool1d(2),
    nn.AdaptiveAvgPool1d(1),
)


@every(
    "layer",
    "shape",
    of=[
        *((layer, SHAPE) for layer in SEQUENCES),
        (nn.Conv2d(2, 3, 2, padding="same"), SHAPE),
        (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), SHAPE),
        *((nn.Flatten(start, end), SHAPE) for start, end in ((0, -1), (2, -1), (1, 2), (1, -2))),
        # windows of different sizes, and such as overhang
        (nn.AdaptiveAvgPool2d((4, 4)), SHAPE),
        (nn.AvgPool2d(4, ceil_mode=True), SHAPE),
        (nn.MaxPool2d(3, 2, ceil_mode=True), SHAPE),
        (nn.Upsample(scale_factor=2, mode="bilinear"), SHAPE),
        (nn.Upsample(scale_factor=1.5), SHAPE),
        (nn.Upsample(scale_factor=0.5), SHAPE),
        (nn.Upsample(size=(1, 7)), SHAPE),
        (nn.Sequential(nn.Flatten(), nn.Upsample(scale_factor=2)), SHAPE),
        # of a sequence, or of a map of one row
        (nn.Upsample(scale_factor=2), (2, 1, 4)),
    ],
)
def test_a_layer_without_a_deployed_form_is_refused_by_name(layer: nn.Module, shape: tuple[int, ...]):
    with pytest.raises(LoweringError, match=r"^layer(\.1)?: "):
        lowered(of_one(layer), shape, time_steps=T)
