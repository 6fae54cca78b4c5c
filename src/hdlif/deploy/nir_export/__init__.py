"""A deployed graph in the Neuromorphic Intermediate Representation (NIR, Pedersen et al., Nat. Commun. 2024).

NIR's leaky neuron is stated in continuous time, with a hard reset and spikes of 1:

    τ v' = (v_leak - v) + R I,    z = 1 where v > v_threshold, else 0,    v = v_reset where z = 1

and is run by Euler steps of dt: v ← (1 - dt/τ) v + (dt/τ)(v_leak + R I). So ours, m = λ v + I with a spike where
m >= θ, has τ = dt/(1 - λ), R = τ/dt, v_leak = 0, and as v_threshold the float32 next below θ, above which lie exactly
the m that are at least θ. `docs/how_to/nir.md` has the mapping, and the support of other libraries.
"""

from hdlif.deploy.nir_export.extension import extended
from hdlif.deploy.nir_export.translation import DT, nir_package, to_nir, write

__all__ = ["DT", "extended", "nir_package", "to_nir", "write"]
