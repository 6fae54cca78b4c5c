"""What figures and tables show, for someone who has never seen one: axes, what good looks like, where to read on."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """Plain sentences, and the page of docs/ that has more, as "room/page"."""

    text: str
    page: str


PAGES: Mapping[str, str] = {
    "explanation/coherence": "Gradient coherence",
    "explanation/energy": "What the energy figures mean",
    "explanation/graded_spikes": "Graded spikes",
    "explanation/long_time": "Long time",
    "explanation/spiking_neurons": "Spiking neurons for those who know PyTorch",
    "how_to/experiments": "Experiments",
    "how_to/serving": "Serving",
    "how_to/your_own_recordings": "Your own recordings of events",
    "reference/recipes": "Recipes",
    "reference/targets": "Where a network runs",
    "reference/tasks": "What is learned",
}
"""Their names, as the page says them."""

_BY_LAYER = "A row is a layer, the first one on top; a mark is a network. "
_BY_STEP = "A panel is a layer of neurons; from left to right go the time steps of one input. "
_GRADIENT = "0 is the gradient of full back-propagation through time (STBP); the further to the right, the worse. "
_COHERENCE = "explanation/coherence"

EXPLANATIONS: Mapping[str, Explanation] = {
    "results": Explanation(
        "A row is a network. Higher is better in the column of accuracy, lower in all columns to the right of "
        "it, which show what the network costs to store, to run and to train. Compare energies of networks "
        "whose weights have the same bits: fewer bits save energy with every neuron, LIF included.",
        "explanation/energy",
    ),
    "results-of-values": Explanation(
        "A row is a network. The columns of the test set say how well it does on data that it was not trained "
        "on; the columns to the right of them say what it costs to store, to run and to train, where lower is "
        "better.",
        "reference/tasks",
    ),
    "differences": Explanation(
        "A recipe is the file that says how a network is built and trained. What is not listed is the same in "
        "all of them, so that only these fields can explain a difference between the networks.",
        "reference/recipes",
    ),
    "confusion": Explanation(
        "A row is what the samples are, a column what the network took them for. In a perfect network all "
        "counts are on the diagonal; a count beside it is a mistake, and a dot is zero.",
        "reference/tasks",
    ),
    "gallery": Explanation(
        "The test images with the lowest scores, the lowest first: the true target drawn into the image, and what "
        "the network answers. Look for what they have in common.",
        "reference/tasks",
    ),
    "commonest": Explanation(
        "A row is one kind of mistake, the most frequent first: what the samples are, what the network took "
        "them for, and how often.",
        "reference/tasks",
    ),
    "provenance": Explanation(
        "What is needed to make the runs again. Figures are comparable where versions and hardware are the same.",
        "how_to/experiments",
    ),
    "deployed": Explanation(
        "The file is all that the runtime needs, without PyTorch. Class agreement should be 100 %, or short of "
        "it by a few samples whose classes are almost equally likely.",
        "reference/targets",
    ),
    "accuracy-by-class": Explanation(
        "A row is a class, the worst one on top; a mark is a network. Further to the right is better, and the "
        "right edge is perfect. Mind where the axis begins: marks that look far apart may differ by a few "
        "points.",
        "reference/tasks",
    ),
    "f1-by-label": Explanation(
        "A row is a label; a mark is a network. Further to the right is better. A label that is often missed, "
        "or often said wrongly, is far to the left.",
        "reference/tasks",
    ),
    "parts": Explanation(
        "A row is an output of the network; a mark is a network. The name below the axis says what is measured.",
        "reference/tasks",
    ),
    "predicted": Explanation(
        "Along the axis below is the true value, along the other what the network says. The closer the marks "
        "are to the dashed diagonal, and the shorter their bars, the better.",
        "reference/tasks",
    ),
    "accuracy-per-step": Explanation(
        "A spiking network answers after every time step, and a later answer has seen more. Higher is better; "
        "a line that is high from the first step on means that the network can answer early.",
        "explanation/spiking_neurons",
    ),
    "per-step": Explanation(
        "From left to right go the time steps of one input, and the network has seen more at each. The earlier a line "
        "reaches its best value, the fewer steps the network needs; of errors, the lower the better.",
        "explanation/spiking_neurons",
    ),
    "early": Explanation(
        "To the left is faster, higher is more accurate: a line that stays high up to the left loses little by "
        "stopping early. The service and hdlif run with --confidence stop in this way.",
        "how_to/serving",
    ),
    "validation-accuracy": Explanation(
        "From left to right goes the training, and higher is better. A line that has become flat gains little "
        "from more epochs; the network is kept at its best epoch, of equal ones at that with the least validation "
        "loss.",
        "how_to/experiments",
    ),
    "validation-metric": Explanation(
        "From left to right goes the training. A line that has become flat gains little from more epochs; the "
        "network is kept at its best epoch, of equal ones at that with the least validation loss.",
        "how_to/experiments",
    ),
    "training-loss": Explanation(
        "From left to right goes the training. The loss should fall and level off; a loss that rises again, or "
        "jumps, points to a learning rate that is too high.",
        "how_to/experiments",
    ),
    "firing-rate": Explanation(
        _BY_LAYER
        + "The further to the left, the fewer spikes, and the less the layer after has to compute. A layer at "
        "0 is silent and passes nothing on.",
        "explanation/spiking_neurons",
    ),
    "sops": Explanation(
        _BY_LAYER
        + "A synaptic operation is what one spike costs at one weight: the weight is added, times the value of the "
        "spike where spikes are graded. The further to the left, the cheaper the layer.",
        "explanation/energy",
    ),
    "leak": Explanation(
        _BY_STEP + "The leak is the share of its potential that a neuron keeps from one step to the next: 1 forgets "
        "nothing, 0 all. No value is right or wrong; a line away from the start shows what was learned.",
        "explanation/spiking_neurons",
    ),
    "threshold": Explanation(
        _BY_STEP + "A neuron fires where its membrane exceeds the threshold: a lower one means more spikes at this "
        "step. No value is right or wrong; a line away from the start shows what was learned.",
        "explanation/spiking_neurons",
    ),
    "raster": Explanation(
        "A row is a neuron, a column a time step. A mark is a spike, and a row without marks a neuron that "
        "stays silent. Few marks are cheap; which neurons fire is what the next layer reads.",
        "explanation/graded_spikes",
    ),
    "membranes": Explanation(
        "A panel is a neuron; from left to right go the time steps. The line is what the neuron has collected. "
        "Where it exceeds the dotted threshold the neuron fires.",
        "explanation/spiking_neurons",
    ),
    "coherence-firing-rate": Explanation(
        _BY_LAYER + "It says under which activity the gradients of the next figures were compared.",
        _COHERENCE,
    ),
    "coherence-dropped": Explanation(
        "A row is a layer. At 0 the rule keeps all of the gradient; the further to the right, the more it leaves out.",
        _COHERENCE,
    ),
    "coherence-wrong": Explanation(
        "A row is a layer. At 0 every entry that the rule keeps is right; further to the right it learns from "
        "wrong ones.",
        _COHERENCE,
    ),
    "coherence-local": Explanation(f"A row is a layer. {_GRADIENT}Each layer is looked at alone.", _COHERENCE),
    "coherence-end-to-end": Explanation(
        f"A row is a layer of weights. {_GRADIENT}Deviations of all layers after add up here.", _COHERENCE
    ),
    "coherence-step": Explanation(
        _BY_STEP + "0 is the gradient of full back-propagation through time (STBP); the higher a line, the more the "
        "rule deviates from it at that step.",
        _COHERENCE,
    ),
    "ablation-results": Explanation(
        "A row and a column together say what was trained; the cell says how it did. The figure after ± is the "
        "standard deviation over the seeds: differences smaller than that may be chance.",
        "how_to/experiments",
    ),
    "by-column": Explanation(
        "A line is a row of the table, and higher is better. Where bars overlap, the difference may be chance.",
        "how_to/experiments",
    ),
    "by-operations": Explanation(
        "To the left is cheaper, higher is more accurate: the best place is the upper left corner.",
        "explanation/energy",
    ),
    "over-time": Explanation(
        "A panel is a column of the table; from left to right go the time steps of one input. Higher is "
        "better, and a line that is high from the first step on means that the network can answer early.",
        "explanation/spiking_neurons",
    ),
    "shown": Explanation(
        "From left to right goes the time of the recording, in the steps of the network. It is what the "
        "network sees, before any layer.",
        "how_to/your_own_recordings",
    ),
    "said-values": Explanation(
        "From left to right goes the time of the recording. A line is a value, as the network knows it by then.",
        "reference/tasks",
    ),
    "said": Explanation(
        "From left to right goes the time of the recording. The highest line is the answer so far; a good "
        "network settles early on one line and stays there.",
        "explanation/long_time",
    ),
    "firing": Explanation(
        "A line is a layer of neurons. The lower it is, the fewer spikes there are and the less is to be "
        "computed; a rise shows that the layer reacts to what comes in.",
        "explanation/spiking_neurons",
    ),
    "windows": Explanation(
        "A long recording is cut into windows, and the network answers for each by itself.",
        "how_to/your_own_recordings",
    ),
}
"""By kind of figure or table."""
