"""Export to the Neuromorphic Intermediate Representation (NIR, Pedersen et al., Nature Communications 2024).

NIR defines its leaky neuron in continuous time, with a hard reset and spikes of 1:

    τ v' = (v_leak - v) + R I,    z = 1 where v > v_threshold, else 0,    v = v_reset where z = 1

Simulators integrate NIR's leaky neuron in Euler steps of dt: v ← (1 - dt/τ) v + (dt/τ)(v_leak + R I). The hdlif neuron
m = λ v + I, which spikes if m >= θ, therefore has τ = dt/(1 - λ), R = τ/dt and v_leak = 0. The threshold v_threshold is
the largest float32 below θ, because m exceeds this value exactly if m >= θ. `docs/how_to/nir.md` describes the mapping
and the support in other libraries.
"""

from hdlif.deploy.nir_export.extension import extended
from hdlif.deploy.nir_export.translation import DT, nir_package, to_nir, write

__all__ = ["DT", "extended", "nir_package", "to_nir", "write"]
