"""Channel attention in residual and plain networks."""

import pytest

from hdlif.models import AttentionBlockI, AttentionBlockII, PreActBlock
from hdlif.nn import SECA
from hdlif.recipe import builders, load_recipe
from small_recipes import built


@pytest.mark.parametrize(
    ("words", "block"),
    [
        ("{kind: seca}", AttentionBlockI),
        ("{kind: seca, form: II, per_step: true}", AttentionBlockII),
        ("{kind: eca}", AttentionBlockI),
    ],
)
def test_attention_is_in_every_block(words: str, block: type[AttentionBlockI]) -> None:
    network = built(f"attention={words}")
    blocks = [module for module in network.modules() if isinstance(module, PreActBlock)]
    assert {type(module) for module in blocks} == {block}
    modules = [module for module in network.modules() if isinstance(module, SECA)]
    assert len(modules) == 6
    assert {len(module.weight) for module in modules} == {4 if "per_step" in words else 1}
    assert {module.bias is None for module in modules} == {words == "{kind: eca}"}


def test_attention_in_a_plain_network() -> None:
    plain = "model={kind: vgg_snn, plan: [4, P, 4], final_size: null}"
    chosen = load_recipe("digits_hdlif", [plain, "attention={kind: seca}"])
    builders.check(chosen)
    assert sum(isinstance(m, SECA) for m in builders.build_model(chosen).modules()) == 2
