"""Batch norms, shared or per step."""

from hdlif.nn import BatchNorm2d
from small_recipes import built


def test_norm_per_step_is_in_the_body_and_not_in_the_stem() -> None:
    network = built("norm={kind: batch_norm, per_step: true, momentum: 0.2}")
    norms = {name: m for name, m in network.named_modules() if isinstance(m, BatchNorm2d)}
    assert {name for name, norm in norms.items() if norm.time_steps is None} == {"stem.bn"}
    assert all(norm.momentum == 0.2 for name, norm in norms.items() if name != "stem.bn")
    shared = built("norm={kind: batch_norm}")
    assert all(m.time_steps is None for m in shared.modules() if isinstance(m, BatchNorm2d))
