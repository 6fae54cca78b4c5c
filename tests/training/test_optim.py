"""Which parameters decay, and the learning rate over time."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from hdlif.nn import GLIF, HDLIF, MemBN
from hdlif.training.optim import Drops, OnePass, cosine, parameter_groups, sgd, warmed_up
from training.tiny import tiny_network


def test_neuron_logits_batch_norm_and_biases_do_not_decay() -> None:
    model = tiny_network()
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed, kept = parameter_groups(model)
    assert [names[p] for p in decayed] == [
        "stem.conv.weight",
        "body.stage1.0.conv1.weight",
        "body.stage1.0.conv2.weight",
        "classifier.weight",
    ]
    assert {names[p] for p in kept} == set(names.values()) - {names[p] for p in decayed}


def test_what_belongs_to_time_steps_does_not_decay() -> None:
    for neuron in (HDLIF(4, channels=8), HDLIF(4, norm=MemBN(4, 8)), GLIF(4, channels=8)):
        assert any(parameter.ndim == 2 for parameter in neuron.parameters())
        model = nn.Sequential(neuron, nn.Linear(2, 2, bias=False))
        decayed, kept = parameter_groups(model)
        assert [id(p) for p in decayed] == [id(model[1].weight)], neuron
        assert [id(p) for p in kept] == [id(p) for p in neuron.parameters()], neuron


def test_sgd_step_is_nesterov_with_decay_on_weights_only() -> None:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)
    nn.init.constant_(model.bias, 3.0)
    assert sgd(model, learning_rate=1, momentum=0, weight_decay=0).defaults["nesterov"] is False
    optimizer = sgd(model, learning_rate=0.5, momentum=0.5, weight_decay=0.25)
    for _ in range(2):
        model.weight.grad, model.bias.grad = torch.ones(1, 1), torch.ones(1)
        optimizer.step()
    # weight: g = 1 + 0.25·2 = 1.5, buffer 1.5, step 1.5 + 0.5·1.5 = 2.25, weight 2 - 1.125 = 0.875;
    # then g = 1.21875, buffer 1.96875, step 2.203125, weight 0.875 - 1.1015625.
    # bias: buffer 1, step 1.5, bias 2.25; then buffer 1.5, step 1.75, bias 1.375.
    assert model.weight.item() == -0.2265625
    assert model.bias.item() == 1.375


def test_cosine_by_hand() -> None:
    factors = [warmed_up(cosine, step, 8, 4) for step in range(9)]
    half = 2**-0.5
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, (1 + half) / 2, 0.5, (1 - half) / 2, 0.0]
    assert factors == pytest.approx(expected, abs=1e-12)
    assert warmed_up(cosine, 0, 10, 0) == 1.0
    assert [warmed_up(cosine, step, 2, 2) for step in range(3)] == [0.5, 1.0, 1.0]
    for at, factor in (([0.0], 0.1), ([1.0], 0.1), ([0.5], 0.0)):
        with pytest.raises(ValueError, match=r"at = |factor"):
            Drops(at, factor)


@pytest.mark.parametrize("make", [partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True), torch.optim.AdamW])
def test_one_pass_is_the_step_of_the_plain_loop(make: Callable[..., torch.optim.Optimizer]) -> None:
    """Also where a gradient comes late, or lies otherwise."""
    found = []
    for is_fused in (False, True):
        torch.manual_seed(0)
        weight, late, bias = (nn.Parameter(torch.randn(sizes)) for sizes in ((4, 3, 3, 3), (2, 3), (4,)))
        optimizer = make(
            [{"params": [weight, late], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}],
            **({} if is_fused else {"fused": False}),
        )
        one_pass, taken = OnePass(optimizer), []
        for step in range(5):
            weight.grad, bias.grad = torch.randn(4, 3, 3, 3), torch.randn(4)
            if step == 1:
                # As a rule that makes gradients itself may leave them.
                weight.grad = torch.randn(3, 3, 3, 4).permute(3, 2, 1, 0)
            late.grad = torch.randn(2, 3) if step > 2 else None
            one_pass.prepare()
            taken.append([bool(group["fused"]) for group in optimizer.param_groups])
            optimizer.step()
        if is_fused:
            late_first = [make.func is not torch.optim.SGD if isinstance(make, partial) else True, True]
            assert taken == [[True, True], [False, True], [True, True], late_first, [True, True]]
        found.append((weight.detach(), late.detach(), bias.detach()))
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


def test_what_is_no_plain_parameter_or_was_chosen_otherwise_stays() -> None:
    last = nn.Parameter(torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last))
    plain = nn.Parameter(torch.randn(3))
    cases: list[tuple[list[nn.Parameter], dict[str, bool]]] = [
        ([last], {}),
        ([plain, last], {}),
        ([plain], {"foreach": True}),
        ([plain], {"foreach": False}),
        ([plain], {"fused": False}),
    ]
    for parameters, options in cases:
        optimizer = torch.optim.SGD(parameters, lr=0.1, **options)  # type: ignore[arg-type]
        for one in parameters:
            one.grad = torch.ones_like(one)
        OnePass(optimizer).prepare()
        assert not optimizer.param_groups[0]["fused"]
    other = torch.optim.RMSprop([plain])
    OnePass(other).prepare()
    assert "fused" not in other.param_groups[0]


def test_a_sparse_gradient_is_left_to_the_plain_loop() -> None:
    embedding = nn.Embedding(5, 3, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    embedding(torch.tensor([1, 2])).sum().backward()
    OnePass(optimizer).prepare()
    before = embedding.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, embedding.weight.detach())
