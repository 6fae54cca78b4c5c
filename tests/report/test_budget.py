"""The choice of neurons, bits and channels for a budget: its costs, its estimates and its optimality."""

import contextlib
import itertools
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cases import naming
from hdlif.deploy import lower
from hdlif.deploy.c import fixed_point, translate
from hdlif.errors import RecipeError
from hdlif.nn import HDLIF, Integer, ParallelHDLIF, SpikeQuantizer
from hdlif.recipe import Recipe, builders, dump_recipe, load_recipe
from hdlif.report.budget import TIMED, TIMED_SECONDS, BudgetSearch
from hdlif.report.channels import kept_channels
from hdlif.report.choices import AS_IT_IS, Budget, Option, solve
from hdlif.report.counts import counts, deployed_or_none
from hdlif.runtime import Session
from small_recipes import recipe

SMALL = ["model.blocks=[1]", "rule={kind: stbp}", "time_steps=3", "data.batch_size=4"]
LOW_BIT = [*SMALL, "weights={kind: integer, bits: 4}", "spikes={kind: quantised, bits: 2}"]
BLOCK = "body.stage1.0"
FIRST, SECOND = f"{BLOCK}.act1", f"{BLOCK}.act2"


def search(budget: str, *overrides: str) -> BudgetSearch:
    chosen = recipe(*overrides)
    draws = torch.Generator().manual_seed(0)
    return BudgetSearch(chosen, Budget.read(budget), {}, [builders.random_batch(chosen, draws) for _ in range(2)])


def test_the_costs_of_a_choice_are_those_of_the_network_that_its_recipe_makes(tmp_path: Any) -> None:
    for budget in ("nops=70%,mb=98%", "sops=80%", "energy_uj=95%,nops=70%", "flash_kb=97%,ram_kb=90%"):
        with naming(budget):
            found = search(budget, *LOW_BIT, *(["model.width=16"] if "flash" in budget else []))
            chosen = found.choose(found.build(found.recipe))
            path = tmp_path / "recipe.yaml"
            path.write_text(dump_recipe(chosen.recipe))
            again: Recipe = load_recipe(path)
            builders.check(again)
            graph = deployed_or_none(found.build(again), again)
            assert graph is not None
            counted = counts(graph, again, [found.batches[0][0]])
            energy = counted.energy_mj_honest
            assert energy is not None
            every = {"nops": counted.nops, "mb": counted.stored_mb, "sops": counted.sops, "energy_uj": 1e3 * energy}
            source = translate(graph, fixed=fixed_point(graph, found.batches[0][0][:, :1].numpy(), again.time_steps))
            every |= {"flash_kb": source.data_bytes / 1e3, "ram_kb": source.ram_bytes / 1e3}
            assert chosen.after == {name: every[name] for name in chosen.after}
            assert chosen.choice
            assert all(chosen.after[name] <= limit < chosen.before[name] for name, limit in chosen.limits.items())


def test_options_are_fewer_bits_and_neurons_without_memory_that_save_something() -> None:
    of_neurons = search("nops=70%", *LOW_BIT).costs
    assert set(of_neurons) == {(name, o) for name in (FIRST, SECOND) for o in (AS_IT_IS, Option(parallel=True))}
    of_file = {option.weight_bits for name, option in search("mb=90%", *LOW_BIT).costs if name.endswith("conv1")}
    # Both int4 and ternary weights take less in the file than int4, and int2 less than both.
    assert of_file == {None, 1, 1.5, 2}
    of_energy = {option for name, option in search("energy_uj=90%", *LOW_BIT).costs if name == FIRST}
    assert Option(levels=(1, 0.25)) in of_energy
    assert all(option.levels is None or option.levels[0] == 1 for option in of_energy)
    with pytest.raises(RecipeError, match="no layer of digits_hdlif has an option that saves nops"):
        search("nops=90%", *SMALL, "neuron={kind: parallel_hdlif}")


def test_milliseconds_are_those_of_the_runtime_relative_to_the_network_of_the_recipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def times(*sessions: Session) -> list[list[float]]:
        """As if the machine were once three times as slow, and each value of a state took a millisecond."""
        sizes = [1 + session.state_bytes for session in sessions]
        return [[slower * size / 1e3 for slower in (1, 3, 1)] for size in sizes]

    monkeypatch.setattr(BudgetSearch, "_times", staticmethod(times))
    found = search("ms=60%", *LOW_BIT)
    chosen = found.choose(found.build(found.recipe))
    assert chosen.before["ms"] > chosen.after["ms"] > 0
    assert any(option.parallel for option in chosen.choice.values())


def test_a_network_is_timed_in_turns_with_that_of_the_recipe() -> None:
    found = search("ms=99%", *LOW_BIT)
    session = Session(lower(found.network, **builders.graph_record(found.recipe)), 1)
    one, other = found._times(session, session)
    assert len(one) == len(other) >= TIMED
    assert sum(one) + sum(other) >= TIMED_SECONDS


def test_a_choice_adds_to_the_lists_of_the_recipe() -> None:
    found = search("mb=90%", *LOW_BIT, f"neuron.parallel=[{FIRST}]", "weights.layers={'*.conv1': 8}")
    choice = {SECOND: Option(parallel=True, levels=(1, 0.5)), "body.stage1.0.conv2": Option(weight_bits=2)}
    network = found.build(found.with_choice(choice))
    quantizers = {name: getattr(m, "quantizer", None) for name, m in network.named_modules()}
    assert all(isinstance(network.get_submodule(name), ParallelHDLIF) for name in (FIRST, SECOND))
    assert [quantizers[f"body.stage1.0.conv{n}"] for n in (1, 2)] == [Integer(8), Integer(2)]
    levels = [quantizers[name] for name in (FIRST, SECOND)]
    assert [(q.bits, q.step) for q in levels if isinstance(q, SpikeQuantizer)] == [(2, 0.25), (1, 0.5)]


def loss_with(layer: nn.Module, change: Tensor, network: nn.Module, x: Tensor, target: Tensor) -> float:
    """Return the loss with a change added to what a neuron layer gives, or to a layer's weights."""
    with torch.no_grad(), contextlib.ExitStack() as stack:
        if isinstance(layer, HDLIF):
            stack.enter_context(layer.register_forward_hook(lambda m, a, output: (output[0] + change, output[1])))
        else:
            stack.callback(setattr, layer.weight, "data", layer.weight.data)
            layer.weight.data = layer.weight.data + change  # type: ignore[operator]
        logits, _ = network(x, steps=range(3))
        return float(nn.functional.cross_entropy(logits.mean(0), target))


def test_an_effect_is_the_derivative_of_the_loss_towards_the_option() -> None:
    """Against central differences of the loss, along the change of a layer's spikes, or of its weights."""
    found = search("energy_uj=90%,mb=90%", *SMALL)
    for network in (found.network, *found._variants.values()):
        network.double()
    x, target = found.batches[0][0].double(), found.batches[0][1]
    found.batches = [(x, target)]
    trained = found.build(found.recipe).double()
    effects = found.effects(trained)
    inputs: dict[str, Tensor] = {}
    with contextlib.ExitStack() as stack:
        for name in (FIRST, SECOND):
            layer = trained.get_submodule(name)
            stack.enter_context(layer.register_forward_hook(lambda m, a, o, name=name: inputs.update({name: a[0]})))
        trained(x, steps=range(3))
    seen = set()
    for (name, option), effect in effects.items():
        if option == AS_IT_IS:
            assert effect == 0
            continue
        own, layer = trained.get_submodule(name), found._variants[option].get_submodule(name)
        with torch.no_grad():
            if name in inputs:
                change = layer(inputs[name], None, range(3))[0] - own(inputs[name], None, range(3))[0]
            else:
                change = layer.weight_q() - own.weight_q()  # type: ignore[operator]
        up, down = (loss_with(own, size * change, trained, x, target) for size in (1e-6, -1e-6))
        with naming(name, option):
            assert effect == pytest.approx(abs(up - down) / 2e-6, rel=1e-4, abs=1e-9)
        seen.add((name in inputs, effect > 1e-6))
    assert {(True, True), (False, True)} <= seen


def test_a_choice_is_the_best_of_all() -> None:
    draws = random.Random(0)
    options = [AS_IT_IS, Option(parallel=True), Option(weight_bits=1), Option(weight_bits=2)]
    every = [dict(zip("abc", one, strict=True)) for one in itertools.product(options, repeat=3)]
    before, kept = {"nops": 100.0, "mb": 3.0}, 0
    for number in range(20):
        costs = {
            (layer, option): {name: n * (1 - (option != AS_IT_IS) * draws.random() / 3) for name, n in before.items()}
            for layer in "abc"
            for option in options
        }
        effects = {key: (key[1] != AS_IT_IS) * draws.random() for key in costs}
        limits = {"nops": 100 * draws.uniform(0.3, 1), "mb": 3 * draws.uniform(0.3, 1)}
        totals = [
            {name: n + sum(costs[key][name] - n for key in one.items()) for name, n in before.items()} for one in every
        ]
        beyond = [sum(max(1.0, total[name] / limit) for name, limit in limits.items()) for total in totals]
        effect = [sum(effects[key] for key in one.items()) for one in every]
        within = [place for place, factors in enumerate(beyond) if factors == len(limits)]
        found, least = (solve(before, costs, given, limits) for given in (effects, None))
        with naming(number):
            assert beyond[every.index(least or {})] == pytest.approx(min(beyond))
            assert (found is None) == (not within)
            if found is not None:
                assert every.index(found) in within
                assert effect[every.index(found)] == pytest.approx(min(effect[place] for place in within))
                kept += 1
    assert 5 < kept < 20


def test_a_budget_that_cannot_be_kept_is_refused_with_the_nearest() -> None:
    found = search("nops=10%,mb=99%", *LOW_BIT)
    with pytest.raises(RecipeError) as refused:
        found.check_feasible()
    assert '"nops=10%,mb=99%" cannot be met' in str(refused.value)
    nearest = str(refused.value).rpartition(' "')[2].rstrip('"')
    assert nearest == "nops=33.34%,mb=99%"
    search(nearest, *LOW_BIT).check_feasible()


def test_what_is_no_budget_is_refused() -> None:
    for wrong in ("", "nops", "nops=", "nops=0", "nops=-3", "nops=1e999", "flops=3", "nops=3,nops=4", "nops=50%%"):
        with naming(wrong), pytest.raises(RecipeError, match="budget: "):
            Budget.read(wrong)


def narrow_search() -> BudgetSearch:
    """A network of one block of 32 channels, of which the norm's scales tell some from others."""
    found = search("mb=90%", *SMALL, "model.width=32", "data.batch_size=2")
    scale = 8 * torch.rand(32, generator=torch.Generator().manual_seed(1)) - 4
    return BudgetSearch(found.recipe, found.budget, {f"{BLOCK}.bn1.weight": scale}, found.batches[:1])


def test_removed_channels_are_those_of_the_smallest_scales_and_the_others_keep_their_tensors() -> None:
    found = narrow_search()
    wide, narrow = found.network, found.build(found.with_choice({BLOCK: Option(channels=16)}))
    kept = wide.get_parameter(f"{BLOCK}.bn1.weight").abs().topk(16).indices.sort().values
    before, after = wide.state_dict(), narrow.state_dict()
    assert after.keys() == before.keys()
    for name, one in before.items():
        of_conv1, of_conv2 = (name == f"{BLOCK}.conv{n}.weight" for n in (1, 2))
        expected = one[:, kept] if of_conv2 else one[..., kept] if ".bn1." in name and one.shape[-1:] == (32,) else one
        with naming(name):
            assert torch.equal(after[name], one[kept] if of_conv1 else expected)
    # A network with the channels at zero after their neurons says the same.
    removed = torch.ones(32, dtype=torch.bool)
    removed[kept] = False
    layer = wide.get_submodule(f"{BLOCK}.act2")
    layer.register_forward_hook(lambda m, a, o: (o[0] * ~removed[:, None, None], o[1]))
    x = found.batches[0][0]
    torch.testing.assert_close(narrow(x, steps=range(3))[0], wide(x, steps=range(3))[0])


def test_the_effect_of_fewer_channels_is_the_derivative_of_the_loss_towards_no_spikes_of_theirs() -> None:
    found = narrow_search()
    x, target = found.batches[0][0].double(), found.batches[0][1]
    found.batches = [(x, target)]
    for network in (found.network, *found._variants.values()):
        network.double()
    trained = found.build(found.recipe).double()
    effect = found.effects(trained)[BLOCK, Option(channels=16)]
    removed = trained.get_parameter(f"{BLOCK}.bn1.weight").abs().topk(16, largest=False).indices
    layer, spikes = trained.get_submodule(f"{BLOCK}.act2"), list[Tensor]()
    with layer.register_forward_hook(lambda m, a, o: spikes.append(o[0])), torch.no_grad():
        trained(x, steps=range(3))
    change = torch.zeros_like(spikes[0])
    change[:, :, removed] = -spikes[0][:, :, removed]
    up, down = (loss_with(layer, size * change, trained, x, target) for size in (1e-6, -1e-6))
    assert effect == pytest.approx(abs(up - down) / 2e-6, rel=1e-4)
    assert effect > 1e-6


def test_percentages_refer_to_the_recipe_before_earlier_choices() -> None:
    found = narrow_search()
    recipe = found.with_choice({BLOCK: Option(channels=16)})
    later = BudgetSearch(recipe, found.budget, {}, found.batches, original=found.before)
    assert later.before["mb"] < 0.7 * found.before["mb"]
    assert later.limits == found.limits
    # All is kept, since the network is within the budget as it stands.
    assert later.choose(later.build(recipe)).choice == {}


def test_options_that_save_the_same_bytes_are_not_counted_twice() -> None:
    """Fewer channels and fewer bits of one layer save less together than one by one."""
    found = search("mb=90%", *SMALL, "model.width=32", "data.batch_size=2", "weights={kind: integer, bits: 8}")
    effects = found.effects(found.build(found.recipe))
    both = 0
    for percent in (50, 40, 35, 33):
        found.limits = {"mb": found.before["mb"] * percent / 100}
        with naming(percent):
            chosen = found._chosen(effects)
            assert chosen.is_within
        both += BLOCK in chosen.choice and len(chosen.choice) > 1
    assert both > 1
    found.limits = {"mb": found.before["mb"] * 0.3}
    with pytest.raises(RecipeError) as refused:
        found._chosen(effects)
    nearest = found.original["mb"] * float(str(refused.value).rpartition("=")[2].rstrip('%"')) / 100
    assert chosen.after["mb"] <= nearest < 1.01 * chosen.after["mb"]


def test_attention_over_channels_and_norms_of_ones_own_narrow_too() -> None:
    """ECA's kernel depends on the number of channels without being of single ones."""
    eca = [*SMALL, "model.width=128", "attention={kind: eca}", "data.batch_size=2"]
    found = search("mb=60%", *eca)
    assert found.choose(found.build(found.recipe)).is_within
    weight, scale = torch.rand(8, 4, 3, 3), torch.rand(2, 8)
    kept = kept_channels({"b.conv1.weight": weight, "b.bn1.weight": scale}, "b", 4)
    assert kept.tolist() == weight.flatten(1).norm(dim=1).topk(4).indices.sort().values.tolist()


def test_a_network_within_its_budget_needs_no_option() -> None:
    """As at the second choice, when nothing is left to take away."""
    bare = [*SMALL, "neuron={kind: parallel_hdlif}", "weights={kind: binary}"]
    with pytest.raises(RecipeError, match="no layer of digits_hdlif has an option that saves flash_kb"):
        search("flash_kb=90%", *bare)
    found = search("flash_kb=100%", *bare)
    assert found.choose(found.build(found.recipe)).choice == {}


def test_a_choice_beyond_the_limits_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of costs that are not the sums of the options': the cheaper effect is within them only by the sum."""
    found = search("energy_uj=90%", *SMALL)
    key, other = [one for one in found.costs if one[1] != AS_IT_IS][:2]
    found.before, found.limits = {"energy_uj": 130.0}, {"energy_uj": 100.0}
    found.costs = {(name, AS_IT_IS): found.before for name in {key[0], other[0]}}
    found.costs |= {key: {"energy_uj": 90.0}, (key[0], Option(parallel=True, levels=(1, 9.0))): {"energy_uj": 60.0}}
    monkeypatch.setattr(found, "build", lambda recipe: recipe)
    monkeypatch.setattr(found, "with_choice", lambda choice: choice)
    real = {90.0: 105.0, 60.0: 75.0}

    def count(choice: Any) -> dict[str, float]:
        (made,) = choice.items()
        return {"energy_uj": real[found.costs[made]["energy_uj"]]}

    monkeypatch.setattr(found, "count", count)
    effects = {
        made: float(costs["energy_uj"] == 90.0) + 2.0 * (costs["energy_uj"] == 60.0)
        for made, costs in found.costs.items()
    }
    assert found._chosen(effects).after == {"energy_uj": 75.0}
