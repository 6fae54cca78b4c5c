"""The confusion matrix: rows are true classes, columns the chosen ones."""

import torch

from hdlif.training.tasks import Confusion


def test_counts_go_by_true_and_chosen_class_after_all_steps() -> None:
    confusion = Confusion(("a", "b", "c"))
    # The last step alone would choose otherwise for the second image.
    logits = torch.tensor([[[1.0, 0, 0], [0, 5, 0]], [[1.0, 0, 0], [0, 0, 1]]])
    confusion(logits, torch.tensor([0, 2]))
    confusion(logits, torch.tensor([0, 1]))
    assert confusion.counts.tolist() == [[2, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert confusion.accuracy_per_class == [1.0, 1.0, 0.0]


def test_class_without_images_has_no_accuracy() -> None:
    assert Confusion(("a", "b")).accuracy_per_class == [None, None]
