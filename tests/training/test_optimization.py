"""The optimiser and the scheduler that a training is given, or that its config names."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from cases import naming
from hdlif.errors import InputError
from hdlif.learning import STBP
from hdlif.nn import GLIF, HDLIF, BatchNorm1d, MemBN
from hdlif.recipe import TrainingConfig
from hdlif.training import Callback, Fit, Training
from hdlif.training.optimization import Drops, OnePass, constant, cosine, groups, parameter_groups, sgd, warmed_up
from training.test_given import network, numbers, trainer


def test_only_weights_that_no_time_step_owns_decay() -> None:
    for neuron in (HDLIF(4), HDLIF(4, channels=8), HDLIF(4, norm=MemBN(4, 8)), GLIF(4, channels=8)):
        linear, norm = nn.Linear(2, 2), BatchNorm1d(2)
        decayed, kept = parameter_groups(nn.Sequential(linear, norm, neuron))
        assert [id(p) for p in decayed] == [id(linear.weight)], neuron
        others = [linear.bias, norm.weight, norm.bias, *neuron.parameters()]
        assert [id(p) for p in kept] == [id(p) for p in others], neuron


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
    """Also where a gradient comes late, or is otherwise."""
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
    plain, sparse = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))
    sparse.grad = torch.ones(3).to_sparse()
    for one in (last, plain):
        one.grad = torch.ones_like(one)
    cases: list[tuple[list[nn.Parameter], dict[str, bool]]] = [
        ([last], {}),
        ([plain, last], {}),
        ([sparse], {}),
        ([plain], {"foreach": True}),
        ([plain], {"foreach": False}),
        ([plain], {"fused": False}),
    ]
    for parameters, options in cases:
        optimizer = torch.optim.SGD(parameters, lr=0.1, **options)  # type: ignore[arg-type]
        OnePass(optimizer).prepare()
        assert not optimizer.param_groups[0]["fused"], (parameters, options)
        optimizer.step()
    other = torch.optim.RMSprop([plain])
    OnePass(other).prepare()
    assert "fused" not in other.param_groups[0]


X, Y = numbers(32)
CONFIG = TrainingConfig(epochs=4, learning_rate=0.05)


class Rates(Callback):
    """Notes the learning rates of each batch."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_batch_end(self, training: Training) -> None:
        self.seen.append([group["lr"] for group in training.optimizer.param_groups])


def fit(model: nn.Module, *callbacks: Callback, config: TrainingConfig = CONFIG, **arguments: Any) -> Fit:
    """Train for four batches per epoch."""
    changes = {"model": model, "rule": STBP(), "config": config, "callbacks": callbacks, "cores": 0} | arguments
    return trainer(**changes).fit((X, Y), (X, Y))


def test_the_optimiser_that_the_config_names_is_that_of_torch() -> None:
    config = {"epochs": 1, "learning_rate": 0.01, "weight_decay": 0.02}
    named = config | {"optimizer": {"kind": "adamw", "beta1": 0.8}, "schedule": {"kind": "drops", "at": [0.5]}}
    one, two = network(), network()
    fit(one, config=TrainingConfig.model_validate(named))
    optimizer = torch.optim.AdamW(groups(two, 0.02), lr=0.01, betas=(0.8, 0.999))
    fit(two, config=TrainingConfig.model_validate(config), optimizer=optimizer, scheduler=Drops([0.5]))
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


def test_an_optimiser_has_its_own_rates_and_a_function_multiplies_them() -> None:
    model, rates = network(), Rates()
    weights, biases = ([p for p in model.parameters() if p.ndim == n] for n in (2, 1))
    optimizer = torch.optim.Adam([{"params": weights, "lr": 0.4}, {"params": biases}], lr=0.2)
    arguments: dict[str, Any] = {"optimizer": optimizer, "scheduler": lambda step, total: 1 - step / total}
    fit(model, rates, **arguments)
    assert rates.seen == [[0.4 * (1 - step / 16), 0.2 * (1 - step / 16)] for step in range(16)]
    # Trained again, it begins with the same rates.
    fit(model, rates, **arguments)
    assert rates.seen[:16] == rates.seen[16:]


def test_a_scheduler_of_torch_is_stepped_once_per_epoch() -> None:
    def made(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.4)

    def plateau(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
        # No loss is below it: the rate halves after each epoch.
        scheduler.best = -1.0
        return scheduler

    model = network()
    given = made(model)
    for arguments in (
        {"optimizer": made, "scheduler": partial(lr_scheduler.ExponentialLR, gamma=0.5)},
        {"optimizer": made, "scheduler": plateau},
        {"optimizer": given, "scheduler": lr_scheduler.ExponentialLR(given, gamma=0.5)},
    ):
        fit(model, rates := Rates(), **arguments)
        halved = [0.4] * 4 + [0.2] * 4 + [0.1] * 4 + [0.05] * 4
        assert [rate for (rate,) in rates.seen] == pytest.approx(halved)


def test_the_choice_of_threads_leaves_an_optimiser_as_it_is() -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    updates = fit(model, optimizer=optimizer, cores=2, scheduler=constant).steps
    assert [int(state["step"]) for state in optimizer.state.values()] == [updates] * len(list(model.parameters()))


def test_what_is_no_optimiser_or_scheduler_of_the_model_is_refused() -> None:
    model = network()
    foreign = torch.optim.Adam(network().parameters())
    own = torch.optim.Adam(model.parameters())
    refused: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"optimizer": torch.optim.Adam}),
        ({}, {"optimizer": "adam"}),
        ({}, {"optimizer": foreign}),
        ({}, {"optimizer": lambda model: 3}),
        ({}, {"scheduler": lr_scheduler.StepLR}),
        ({}, {"scheduler": "cosine"}),
        ({}, {"scheduler": lr_scheduler.StepLR(own, 1)}),
        ({}, {"scheduler": lambda optimizer: 3}),
        ({}, {"optimizer": own, "scheduler": lr_scheduler.StepLR(foreign, 1)}),
        ({"warmup_epochs": 1}, {"scheduler": partial(lr_scheduler.StepLR, step_size=1)}),
        ({"optimizer": {"kind": "my:Lion"}}, {}),
        ({"optimizer": {"kind": "adam", "beta3": 1}}, {}),
    ]
    for stated, arguments in refused:
        config = TrainingConfig.model_validate({"epochs": 2, "learning_rate": 0.1, **stated})
        with naming(stated, arguments), pytest.raises(InputError):
            fit(model, config=config, **arguments)
