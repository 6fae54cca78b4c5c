"""What answering early saves, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hdlif.report.charts import Series
from hdlif.report.figures import Figure, lines
from hdlif.report.runs import Early


def accuracy_by_steps(names: Sequence[str], early: Mapping[str, Early]) -> Figure:
    """A curve for each network, along the confidences; the numbers beside it say which."""
    series = [
        Series(style, one["steps"], [100 * accuracy for accuracy in one["accuracy"]])
        for style, name in enumerate(names)
        if (one := early.get(name))
    ]
    caption = (
        "Test accuracy (%) by the mean number of time steps that are used, where a sample is answered for at the first "
        "step after which its class has a probability of at least a threshold, or after the last one. The threshold "
        "rises along the line, from 0 on the left, an answer after the first step, to 1 on the right."
    )
    figure = lines(
        "early",
        caption,
        names,
        series,
        x_label="time steps used, mean",
        y_label="accuracy, %",
        markers=True,
        whole=False,
        within=(0, 100),
    )
    rows = [
        [name, f"{confidence:g}", f"{steps:.2f} of {one['time_steps']}", f"{100 * accuracy:.2f}"]
        for name in names
        if (one := early.get(name))
        for confidence, steps, accuracy in zip(one["confidence"], one["steps"], one["accuracy"], strict=True)
    ]
    return replace(figure, headings=["network", "threshold", "time steps", "accuracy, %"], rows=rows)
