"""BigGAN and BigGAN-deep (Brock et al., 2019) as decoders of known codes z̄ = (z̃, Wc).

The classes are in :mod:`invkit_biggan.decoder`, :mod:`invkit_biggan.dequantize` and the two generators in
:mod:`invkit.autoencoders.biggan` and :mod:`invkit_biggan.deep`; this module imports them when a name is loaded.
"""

from __future__ import annotations

from typing import Any

from invkit.plugins import hookimpl

INVKIT_API = 1

_SIZES = (128, 256, 512)
_NAMES = [f"{family}-{size}" for family in ("biggan", "biggan-deep") for size in _SIZES]


@hookimpl
def list_autoencoders() -> list[str]:
    """List BigGAN and BigGAN-deep at 128, 256 and 512 px; they have no encoder."""
    return list(_NAMES)


@hookimpl
def load_autoencoder(name: str, weights: str | None, local_files_only: bool) -> Any:
    """Load a decoder with published weights from a file or folder, or with random weights."""
    if name not in _NAMES:
        return None
    from invkit_biggan.weights import load

    return load(name, weights, local_files_only=local_files_only)
