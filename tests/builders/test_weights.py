"""Quantised weights, and those kept fp32."""

from hdlif.nn import Integer, QuantConv2d
from small_recipes import built


def test_layers_named_keep_fp32_weights() -> None:
    network = built("weights={kind: integer, bits: 2, keep_float: ['*.shortcut.conv', body.stage1.0.conv1]}")
    quantizers = {name: m.quantizer for name, m in network.named_modules() if isinstance(m, QuantConv2d)}
    kept = {name for name, quantizer in quantizers.items() if quantizer is None}
    assert kept == {"body.stage1.0.conv1", "body.stage2.0.shortcut.conv", "body.stage3.0.shortcut.conv"}
    assert set(quantizers.values()) - {None} == {Integer(2)}
