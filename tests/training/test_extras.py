"""What a training may have beside its rule: each does what it says, and a resume stays exact."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import naming
from hdlif.errors import CheckpointError, DataError
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep, StochasticWindow
from hdlif.nn import HDLIF, Sequential
from hdlif.recipe import builders, load_recipe
from hdlif.training import Accelerator, Updater, checkpoint, evaluate, sgd
from hdlif.training.average import Average
from hdlif.training.tasks import Classify, Evaluation
from training.tiny import (
    TIME_STEPS,
    CrashError,
    config,
    convolutional,
    events,
    float16,
    model_bytes,
    tiny_network,
    tiny_sets,
    train,
    without_dropout,
)

RULES: list[Rule] = [
    STBP(),
    *(SLTT(update) for update in ("sum", "each")),
    *(OTTT(update) for update in ("sum", "each")),
    NDOT("sum"),
    StochasticStep(2),
    StochasticStep(complete=True),
    StochasticWindow(2),
]


def test_networks_along_a_training_are_kept_once_as_they_were_validated(tmp_path: Path) -> None:
    out, stopped = tmp_path / "kept", tmp_path / "stopped"
    kept = config(keep_every=1, ema_decay=0.9)
    fitted = train(out, config=kept)
    names = [f"epoch_{epoch}.safetensors" for epoch in (1, 2)]
    assert sorted(path.name for path in out.glob("epoch_*")) == names
    assert (out / names[fitted.best_epoch - 1]).read_bytes() == model_bytes(out)
    records = [checkpoint.load(out / name)[1] for name in names]
    validated = [event["accuracy"] for event in events(out) if event["event"] == "validation"]
    assert [(record["epoch"], record["accuracy"]) for record in records] == list(enumerate(validated, start=1))

    def stop(epoch: int, result: Evaluation) -> None:
        # The network of this epoch is written, and no state that knows of it.
        if epoch == 2:
            raise CrashError

    with pytest.raises(CrashError):
        train(stopped, config=kept, after_epoch=stop, checkpoint_every=0)
    train(stopped, config=kept, resume=True)
    assert {path.name for path in stopped.iterdir()} == {path.name for path in out.iterdir()}
    assert all((stopped / name).read_bytes() == (out / name).read_bytes() for name in names)
    # Another training in the folder has its own.
    train(out, config=config(keep_every=2))
    assert [path.name for path in out.glob("epoch_*")] == ["epoch_2.safetensors"]


def test_accumulated_batches_equal_one_of_their_size(tmp_path: Path) -> None:
    def trained(out: Path, rule: Rule, batch_size: int, accumulate: int) -> dict[str, Tensor]:
        # Without batch norm, whose statistics are of a batch.
        torch.manual_seed(1)
        model = Sequential(nn.Flatten(), nn.Linear(64, 16), HDLIF(TIME_STEPS), nn.Linear(16, 10)).double()
        stepping = config(epochs=1, warmup_epochs=1, accumulate=accumulate)
        train(out, model=model, precision="64-true", rule=rule, config=stepping, batch_size=batch_size)
        return checkpoint.load(out / "last.safetensors")[0]

    for number, rule in enumerate((STBP(), SLTT("sum"), StochasticStep())):
        whole, parts = trained(tmp_path / f"{number}", rule, 48, 1), trained(tmp_path / f"{number}.3", rule, 16, 3)
        for name, tensor in whole.items():
            torch.testing.assert_close(parts[name], tensor, rtol=0, atol=1e-10)
        assert all(value.any() for name, value in whole.items() if name.endswith("weight"))
    with pytest.raises(DataError, match=r"80 samples fill 5 batches of 16, but an update takes .* = 6"):
        train(tmp_path, config=config(accumulate=6))


def updated(rule: Rule, accelerator: Accelerator, **extras: Any) -> tuple[nn.Module, Updater]:
    """The tiny network after one batch of plain SGD at a learning rate of 1."""
    model = without_dropout().train()
    updater = Updater(accelerator, model, sgd(model, learning_rate=1.0, momentum=0.0, weight_decay=0.0), rule, **extras)
    teach(updater, rule, accelerator)
    return model, updater


def teach(updater: Updater, rule: Rule, accelerator: Accelerator) -> None:
    generator = torch.Generator().manual_seed(3)
    x, target = torch.randn(1, 32, 1, 8, 8, generator=generator), torch.arange(32) % 10
    updater(*accelerator.to_device(x, target), rule.schedule(TIME_STEPS, torch.Generator().manual_seed(0)))


def moved(model: nn.Module) -> Tensor:
    """How far the weights have come from where `tiny_network` has them."""
    start = dict(tiny_network().named_parameters())
    return torch.cat([(p.detach().cpu() - start[name].detach()).flatten() for name, p in model.named_parameters()])


def single(precision: str = "32-true", device: str = "cpu") -> Accelerator:
    return Accelerator(device, precision)  # type: ignore[arg-type]


def test_every_rule_trains_in_16_bits_with_one_scale_an_update(device: str) -> None:
    for rule in RULES:
        with naming(rule):
            full, bfloat = (moved(updated(rule, single(name, device))[0]) for name in ("32-true", "bf16-mixed"))
            assert bfloat.isfinite().all()
            # Spikes flip where a rounded current crosses the threshold, and "each" learns three times.
            assert F.cosine_similarity(full, bfloat, dim=0) > 0.9
            accelerator = float16(device, init_scale=256.0)
            model, updater = updated(rule, accelerator)
            assert F.cosine_similarity(full, moved(model), dim=0) > 0.95
            assert 0.8 < moved(model).norm() / full.norm() < 1.25
            plan = rule.schedule(TIME_STEPS, torch.Generator().manual_seed(0))
            assert accelerator.state_dict()["_growth_tracker"] == sum(plan.updates)
            teach(updater, rule, accelerator)
            assert accelerator.state_dict()["_growth_tracker"] == 2 * sum(plan.updates)
            assert updater.skipped == 0
            assert moved(model).isfinite().all()


def test_float16_update_that_overflows_is_skipped_and_counted(device: str) -> None:
    # Skipped once, the scale is lowered to one that fits.
    accelerator = float16(device, init_scale=2.0**100, backoff_factor=2.0**-92)
    made: list[int] = []
    model, updater = updated(SLTT("sum"), accelerator, after=lambda: made.append(1))
    # What is skipped is not averaged either.
    assert (updater.skipped, made) == (1, [])
    assert not moved(model).any()
    teach(updater, SLTT("sum"), accelerator)
    assert (updater.skipped, made) == (1, [1])
    assert moved(model).isfinite().all()
    assert moved(model).any()


def test_long_gradient_is_clipped_to_the_norm_given(device: str) -> None:
    kinds: list[Callable[..., Accelerator]] = [single, partial(float16, init_scale=512.0)]
    for rule, accelerator in itertools.product((STBP(), SLTT("sum")), kinds):
        free, clipped, loose = (
            moved(updated(rule, accelerator(device=device), clip_norm=norm)[0]) for norm in (None, 0.01, 1e6)
        )
        assert free.norm() > 0.1
        torch.testing.assert_close(clipped.norm(), torch.tensor(0.01), rtol=1e-3, atol=0)
        assert F.cosine_similarity(free, clipped, dim=0) > 0.999
        torch.testing.assert_close(loose, free)


def test_average_follows_its_equation() -> None:
    model = nn.Linear(2, 1, bias=False)
    average, expected = Average(model, 0.3), model.weight.detach().clone()
    for n in range(1, 8):
        with torch.no_grad():
            model.weight.copy_(torch.randn(1, 2))
        average.update()
        decay = min(0.3, n / (n + 9))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        torch.testing.assert_close(average.state_dict()["average.weight"], expected)
    own = model.weight.detach().clone()
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), expected)
    assert torch.equal(model.weight, own)
    kept = average.state_dict()
    for changes in ({"average.weight": 3}, {"average.weight": torch.zeros(3)}, {"updates": -1}, {"updates": True}):
        with pytest.raises(CheckpointError):
            average.load_state_dict(kept | changes)
    average.load_state_dict(kept)


def test_averaged_weights_are_validated_and_kept_with_statistics_of_their_own(tmp_path: Path) -> None:
    sets, out = tiny_sets(), tmp_path / "averaged"
    result = train(out, config=config(epochs=1, ema_decay=0.5), sets=sets)
    last, _ = checkpoint.load(out / "last.safetensors")
    kept, _ = checkpoint.load(out / "model.safetensors")
    for name, _ in tiny_network().named_parameters():
        assert torch.equal(kept[name], last[f"callbacks.Averaging.average.{name}"])
        # The first step's leak multiplies a potential of zero, and has no gradient.
        assert name.endswith("leak.logit") or not torch.equal(kept[name], last[f"model.{name}"])
    loaded = tiny_network()
    checkpoint.load_model(out / "model.safetensors", loaded)
    seen = evaluate(loaded, [sets.validation.sequence(torch.arange(20))], task=Classify(sets.classes, TIME_STEPS))
    assert seen.accuracy == result.metrics["accuracy"]
    # A training that kept no average cannot go on with one.
    train(tmp_path / "plain", config=config(epochs=1))
    with pytest.raises(CheckpointError, match=r"the averaged weight of .* is missing"):
        train(tmp_path / "plain", config=config(epochs=1, ema_decay=0.5), resume=True)


def test_channels_last_lays_maps_out_and_changes_nothing_else(tmp_path: Path, device: str) -> None:
    def is_last(x: Tensor) -> bool:
        return x.is_contiguous(memory_format=torch.channels_last) and (x.shape[1] == 1 or not x.is_contiguous())

    def trained(folder: str, **changes: Any) -> tuple[nn.Module, set[bool]]:
        model, seen = convolutional(), set()
        model.stem.conv.register_forward_pre_hook(lambda m, args: seen.add(is_last(args[0])))
        model.get_submodule("body.stage1.0.conv1").register_forward_hook(lambda m, args, y: seen.add(is_last(y)))
        # Spikes flip with the order of sums; a step of nothing keeps both trainings together.
        still = config(epochs=1, learning_rate=1e-9, **changes)
        train(tmp_path / folder, model=model, config=still, accelerator=single(device=device))
        return model, seen

    plain, _ = trained("plain")
    laid, seen = trained("laid", channels_last=True)
    assert seen == {True}
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(laid.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_accuracy_of_mixed_batches_is_that_of_the_largest_share(tmp_path: Path) -> None:
    def unmixed(x: Tensor, labels: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        return x, 0.7 * F.one_hot(labels, 10) + 0.3 * F.one_hot((labels + 1) % 10, 10)

    class Knowing(STBP):
        """Answers what it was taught."""

        def __call__(self, model, x, target, plan):  # type: ignore[no-untyped-def]
            for step in super().__call__(model, x, target, plan):
                yield type(step)(step.loss, target.expand(3, -1, -1), step.update)

    train(tmp_path, config=config(epochs=1), mix=unmixed, rule=Knowing())
    assert [event["accuracy"] for event in events(tmp_path) if event["event"] == "train"] == [1.0, 1.0]


# Compiled networks that are large enough for kernels which the compiler cannot follow

# Images enough for convolutions by tiles; the networks that ship have channels enough, and shortcuts that halve maps.
IMAGES = 16


def compiled_training(name: str, *overrides: str, compiled: str | None) -> tuple[dict[str, Tensor], int]:
    """Parameters and statistics after six updates, and how many graphs these took."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    recipe = load_recipe(name, [f"data.batch_size={IMAGES}", *overrides])
    torch.manual_seed(0)
    model, rule = builders.build_model(recipe).train(), builders.build_training_rule(recipe)
    accelerator = Accelerator("cpu", "32-true")
    optimizer = builders.build_optimization(recipe.training).make_optimizer(model)
    is_last = recipe.training.channels_last
    updater = Updater(accelerator, model, optimizer, rule, compiled=compiled, channels_last=is_last)
    draws = torch.Generator().manual_seed(0)
    x, target = builders.random_batch(recipe, draws)
    for _ in range(6):
        updater(x, target, rule.schedule(recipe.time_steps, draws))
    return model.state_dict(), torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "most"),
    [
        # The first step of a sequence and the others, with and without gradients.
        (["digits_hdlif"], 4),
        (["digits_hdlif", "training.channels_last=true"], 4),
        (["digits_hdlif_w1p5_s4_parallel"], 4),
        (["digits_rows_recurrent_hdlif"], 4),
        # All steps at once.
        (["digits_hdlif", "rule={kind: stbp}"], 1),
        # Several updates from one pass.
        (["digits_hdlif", "rule={kind: sltt, update: each}"], 4),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else None,
)
def test_a_network_with_kernels_of_its_own_is_compiled_whole(words: list[str], most: int) -> None:
    plain, none = compiled_training(*words, compiled=None)
    traced, graphs = compiled_training(*words, compiled="aot_eager")
    assert none == 0
    assert 0 < graphs <= most
    for name, value in plain.items():
        # Kernels round otherwise, and what is next to a threshold may fall to its other side.
        torch.testing.assert_close(traced[name], value, rtol=1e-2, atol=2e-3, msg=name)
