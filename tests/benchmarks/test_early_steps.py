"""The draw of the least product of noise and time."""

import pytest

from early_steps import best_draw


def test_where_steps_cost_and_weigh_alike_every_draw_is_the_uniform_one() -> None:
    chances, product = best_draw([2.0] * 4, [3.0] * 4)
    assert chances == pytest.approx([0.25] * 4)
    assert product == pytest.approx(1)


def test_no_draw_nearby_has_a_smaller_product() -> None:
    squares, seconds = [1.0, 0.7, 0.9, 0.4], [1.0, 2.0, 3.0, 4.0]

    def product(chances: list[float]) -> float:
        moment = sum(a / p for a, p in zip(squares, chances, strict=True)) / 16
        return moment * sum(p * s for p, s in zip(chances, seconds, strict=True))

    chances, share = best_draw(squares, seconds)
    assert sum(chances) == pytest.approx(1)
    assert share == pytest.approx(product(chances) / product([0.25] * 4))
    for i in range(4):
        for j in range(4):
            moved = list(chances)
            moved[i] += 0.01
            moved[j] -= 0.01
            assert product(moved) >= product(chances)
