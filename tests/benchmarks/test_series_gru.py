"""The GRU that spiking networks are compared with."""

import torch

from hdlif.functional import quantize_weight
from series_gru import Gru


def test_gru_is_torchs_with_rounded_matrices_and_runs_step_by_step() -> None:
    torch.manual_seed(0)
    gru, x = Gru(3, 4, hidden=8), torch.randn(6, 2, 3, 1, 1)
    whole, _ = gru(x, None, range(6))
    first, state = gru(x[:2], None, range(2))
    rest, _ = gru(x[2:], state, range(2, 6))
    torch.testing.assert_close(torch.cat([first, rest]), whole)
    exact = Gru(3, 4, hidden=8, bits=None)
    exact.load_state_dict(gru.state_dict())
    expected = exact.classifier(exact.layer(x.flatten(2))[0])
    torch.testing.assert_close(exact(x, None, range(6))[0], expected)
    assert not torch.equal(whole, expected)
    for weight in exact.layer.parameters():
        if weight.ndim == 2:
            weight.data = quantize_weight(weight.data, bits=8)
    torch.testing.assert_close(exact(x, None, range(6))[0], whole)
