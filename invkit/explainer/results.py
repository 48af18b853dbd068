"""From a trained t to an `Explanation` with its held-out metrics and its protocol."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from invkit.core import Interpretee
from invkit.data import Rows, evenly_spaced
from invkit.evaluation import PROBED, probe
from invkit.explanation import Explanation, HeldOut
from invkit.flows import InvarianceFlow
from invkit.training import held_out_nll
from invkit.utils.random import generator_for
from invkit.utils.resources import rows_in_memory

if TYPE_CHECKING:
    from invkit.explainer.explainer import Explainer

__all__ = ["explanation_of"]


def explanation_of(
    explainer: Explainer,
    interpretee: Interpretee,
    layer: str,
    t: InvarianceFlow,
    z: tuple[Rows, Rows],
    *,
    complete: bool = True,
) -> Explanation:
    """Return the explanation of a layer with its held-out metrics.

    Args:
        explainer: what all layers share.
        interpretee: the model.
        layer: its address.
        t: trained for the layer.
        z: representations of training and of held-out images.
        complete: whether the training of t ended by itself.

    Returns:
        its `metrics` are `nll` and `nll_prior`, −log p(z̄ | z) and −log p(z̄) in nats per dimension; `information`,
        their difference in nats; `psnr` of reconstructions in dB; `probe`, R² of a ridge regression of each concept
        from z; `invariance` (eq. 19), `concepts` (eq. 20), `determined` and `fidelity`.
    """
    train, test = explainer.train_copies, explainer.held_out
    nll = float(held_out_nll(t, explainer.held_out_codes, z[1]).mean())
    prior, dim = explainer.metrics["nll_prior"], explainer.codes.mean.shape[1]
    metrics: dict[str, Any] = {**explainer.metrics, "nll": nll, "information": (prior - nll) * dim}
    if train.concepts:
        most = rows_in_memory(PROBED, z[0].shape[1:])
        rows, judged = evenly_spaced(len(train), most), evenly_spaced(len(test), most)
        parts = enumerate((z[0][rows], z[1][judged]))
        seen = [t.perceive(part, generator_for(explainer.seed, "probe", k)) for k, part in parts]
        known = {name: concept.take(rows) for name, concept in train.concepts.items()}
        few = test.take(judged)
        probes = probe(seen[0], known, seen[1], few.concepts, few.groups)
        metrics["probe"] = {name: vars(estimate) for name, estimate in probes.items()}
    held_out = HeldOut.of(test, z[1])
    protocol = {**_protocol(explainer, t, complete), "images behind eq. 19 and 20": len(held_out.data)}
    found = Explanation(layer, explainer.autoencoder, t, explainer.e, held_out, metrics, protocol, interpretee)
    metrics["invariance"] = vars(found.invariance())
    metrics["concepts"] = {name: vars(share) for name, share in found.concepts().items()}
    metrics["fidelity"] = {
        name: value if isinstance(value, float) else vars(value) for name, value in found.fidelity().metrics.items()
    }
    metrics["determined"] = {name: vars(share) for name, share in found.determined().items()}
    return found


def _protocol(explainer: Explainer, t: InvarianceFlow, complete: bool) -> dict[str, Any]:
    """Return all settings that decide the metrics of an explanation."""
    return {
        "scaling of z": "centred per element, one scale for all",
        "noise floor": f"{explainer.settings.noise_floor} of z's total standard deviation",
        "embedder H": type(t.embedder).__name__,
        "autoencoder": explainer.about_autoencoder,
        "training images": len(explainer.train),
        "copies of each": explainer.settings.copies,
        "held-out images": len(explainer.held_out),
        "seed": explainer.seed,
        **({} if explainer.complete and complete else {"training": "cut short"}),
        "factors": None if explainer.e is None else explainer.e.factors,
        "settings": explainer.settings.to_dict(),
        "versions": {name: version(name) for name in ("invkit", "torch", "torchvision", "numpy")},
    }
