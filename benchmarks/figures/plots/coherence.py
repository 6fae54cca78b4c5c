"""How far the online gradient is from STBP's along a training."""

from figures.drawing import Line, Panel, Plot
from figures.records import record
from figures.registry import plot as registered
from figures.tables.coherence import NEURONS, epochs, networks


@registered("coherence")
def _() -> Plot:
    found = record("coherence")
    panels = []
    for what, y in (("cosine", "cosine with STBP's gradient"), ("norm_ratio", "length over STBP's")):
        lines = []
        for place, (neuron, shown) in enumerate(NEURONS.items()):
            for loss, dashes, which in (("mean_logits", "solid", "one loss"), ("as_trained", "dashed", "as trained")):
                points = [
                    (epochs(network), network["rules"]["sltt"]["end_to_end"][what])
                    for network in networks(found, loss)
                    if network["neuron"] == neuron
                ]
                lines.append(Line(f"{shown}, {which}", tuple(points), dashes, place))
        panels.append(Panel("epochs of training", y, tuple(lines)))
    return Plot("The online gradient beside STBP's along the training of HD-LIF and LIF on digits", tuple(panels))
