"""Learning rules and their losses."""

from hdlif.learning import OTTT, STBP, OTTTCriterion, StochasticStep, StochasticWindow, Stratified
from hdlif.recipe import builders
from small_recipes import recipe


def test_rules_are_made_with_their_arguments() -> None:
    ottt = builders.build_rule(recipe("rule={kind: ottt, update: each, leak: 0.25, mse_share: 0.05}"))
    assert ottt == OTTT("each", leak=0.25, criterion=OTTTCriterion(mse_share=0.05))
    drawn = builders.build_rule(recipe("rule={kind: stochastic_step, k: 2, draw: stratified}"))
    assert isinstance(drawn, StochasticStep)
    assert (drawn.k, drawn.draw, drawn.complete) == (2, Stratified(), False)
    window = builders.build_rule(recipe("rule={kind: stochastic_window, length: 3}", "time_steps=4"))
    assert window == StochasticWindow(3, window.criterion)
    each = builders.build_rule(recipe("rule={kind: stbp, loss: each}"))
    assert each == STBP(each.criterion, loss="each")
    sltt_k = builders.build_rule(recipe("rule={kind: sltt_k, k: 2}"))
    assert isinstance(sltt_k, StochasticStep)
    assert sltt_k.complete
