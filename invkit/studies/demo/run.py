"""The demo, from nothing to a report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invkit.core import Estimate
from invkit.data import ImageSet, color_digits, decode_all, encode_all, evenly_spaced
from invkit.evaluation import Judge
from invkit.explainer import Explainer
from invkit.explanation import Explanation
from invkit.explanation.profile import Profile
from invkit.explanation.sections import edits_section, protocol_section
from invkit.interpretees import ModuleInterpretee
from invkit.report import Section, Table, write_page, write_png
from invkit.studies.demo.network import LAYER, PREPROCESS, accuracy, train_checkpoints
from invkit.studies.editing.edits import Editor, judged_edits
from invkit.studies.judging import trained_judge
from invkit.training import FitSettings
from invkit.utils.io import nan_to_none, write_json
from invkit.utils.progress import log
from invkit.utils.random import generator_for

__all__ = ["CHECKPOINTS", "NETWORK", "agreement", "edit_rates", "legible", "prepared", "run_demo", "trained_judge"]

CHECKPOINTS = (0, 200, 400, 1400)
NETWORK = FitSettings(
    steps=1400, batch_size=128, learning_rate=1e-3, weight_decay=0.1, betas=(0.9, 0.999), warmup=0.15,
    ema=0.97, evaluate_every=100, patience=100, precision="auto",
)  # fmt: skip  # noisier steps (batch 64, β₂ = 0.99) left some seeds at chance


def run_demo(out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Train SqueezeNet on ColorDigits, explain its penultimate Fire while it learns, write a report.

    Everything trained is kept in `out`/cache and found again. A first report, of the untrained and the trained
    network, comes as soon as both are explained.

    Args:
        out: folder of the report.
        seed: of every draw.

    Returns:
        all metrics, as in `out`/metrics.json.
    """
    begun = time.monotonic()
    models, explainer = prepared(out / "cache", seed=seed)
    judge = trained_judge(explainer)
    first, *between, last = CHECKPOINTS
    found: dict[int, Explanation] = {}
    metrics: dict[str, Any] = {}
    for step in (first, last, *between):
        interpretee = ModuleInterpretee(models[step], PREPROCESS)
        found[step] = next(explainer.explain_each(interpretee, [LAYER], name=f"step {step},", whole=True))
        log(f"step {step}: {found[step]!r}")
        if step in (last, (first, last, *between)[-1]):
            profile = Profile({str(k): found[k] for k in sorted(found)}, axis="training step")
            metrics = _metrics(profile, models, explainer, judge)
            _write(out, profile, metrics)
            log(f"report after {time.monotonic() - begun:.0f} s: {out / 'report.html'}")
    return metrics


def prepared(cache: Path, *, seed: int) -> tuple[dict[int, nn.Module], Explainer]:
    """Return SqueezeNet at its checkpoints, by training step, and a fitted Explainer of ColorDigits."""
    train, test = color_digits("train", seed=seed), color_digits("test", copies=4, seed=seed)
    models = train_checkpoints(train, test, NETWORK, CHECKPOINTS, seed=seed, cache=cache)
    return models, Explainer(train, held_out=test, seed=seed, cache=cache).fit(whole=True)


def agreement(explanation: Explanation, judge: Judge, concept: str = "digit", n: int = 500) -> Estimate:
    """Return how often the judge reads from a sample the class that its held-out image has."""
    rows, read = _read_samples(explanation, judge, concept, n // 2, 2)
    right = (read == explanation.held_out.data.concepts[concept].values[rows, None]).float()
    by_image = right.mean(1)
    return Estimate(float(right.mean()), float(by_image.std() / math.sqrt(len(by_image))), right.numel())


def spread(explanation: Explanation, judge: Judge, concept: str, n: int = 100) -> float:
    """Return the mean standard deviation of a colour over samples of one image, as the judge reads it."""
    return float(_read_samples(explanation, judge, concept, n, 8)[1].std(1).mean())


@torch.no_grad()
def _read_samples(explanation: Explanation, judge: Judge, concept: str, n: int, each: int) -> tuple[Tensor, Tensor]:
    """Return the rows (n,) of some held-out images, and what the judge reads from samples of each, (n, each, …).

    Every sample has a v of its own: where all images share a few, the mean over images is no better than those few.
    """
    rows = evenly_spaced(len(explanation.held_out.data), n)
    generator = generator_for(0, "judged samples")
    t, z = explanation.t, explanation.held_out.z[rows]
    latents = t.sample(t.perceive(z, generator), each, generator).flatten(0, 1)
    return rows, judge.read(decode_all(explanation.autoencoder, latents))[concept].unflatten(0, (len(rows), each))


def edit_rates(explanation: Explanation, judge: Judge, n: int = 600) -> Mapping[str, dict[str, float | None]]:
    """Swap each concept for that of another image; give how often the judge, where it can tell, sees which go over.

    The digit counts as changed by a swap of colours if it is read as any other.

    Returns:
        by swapped concept, by judged concept, a share of the images; None where the judge tells none from its donor.
    """
    assert explanation.e is not None
    data = explanation.held_out.data
    codes = encode_all(explanation.autoencoder, data).mean
    editor = Editor.of_swaps(explanation.autoencoder, explanation.e, codes)
    found = judged_edits(data, judge, editor, n, fit=legible)
    rates: dict[str, dict[str, float | None]] = nan_to_none(
        {swapped: {name: edited.rate(name).value for name in edited.changed} for swapped, edited in found.items()}
    )
    return rates


def legible(data: ImageSet, rows: Tensor, donors: Tensor) -> Tensor:
    """Say which donors have another digit, and colours with which the edited digit can still be read.

    These are at least 0.5 apart, as all digits of the data set are.
    """
    foreground, background, digit = (data.concepts[c].values for c in ("foreground", "background", "digit"))
    apart = [(foreground[a] - background[b]).norm(dim=1) >= 0.5 for a, b in ((rows, donors), (donors, rows))]
    return apart[0] & apart[1] & (digit[rows] != digit[donors])


def _metrics(profile: Profile, models: Mapping[int, Any], explainer: Explainer, judge: Judge) -> dict[str, Any]:
    digits = explainer.held_out
    checkpoints = profile.to_dict()
    for name, metrics in checkpoints.items():
        explanation = profile[name]
        metrics["accuracy"] = accuracy(models[int(name)], digits)
        metrics["agreement"] = vars(agreement(explanation, judge))
        metrics["colour_spread"] = {c: spread(explanation, judge, c) for c in ("foreground", "background")}
    last = profile[str(CHECKPOINTS[-1])]
    return {
        "seed": explainer.seed,
        "checkpoints": checkpoints,
        "edits": edit_rates(last, judge),
        "judge_accuracy": float(
            (judge.read(digits.images())["digit"] == digits.concepts["digit"].values).float().mean()
        ),
    }


def _samples(explanation: Explanation, rows: int = 8) -> Tensor:
    chosen = evenly_spaced(len(explanation.held_out.data), rows)
    return explanation.sample_from(explanation.held_out.z[chosen], rows)


def _write(out: Path, profile: Profile, metrics: dict[str, Any]) -> None:
    write_json(out / "metrics.json", metrics)
    first, last = (profile[str(step)] for step in (CHECKPOINTS[0], CHECKPOINTS[-1]))
    profile.plot().savefig(out / "curves.png", dpi=120, bbox_inches="tight")
    write_png(out / "samples.png", [_samples(first), _samples(last)])
    intro = (
        "SqueezeNet 1.1 learned to name handwritten digits in random colours. Its penultimate Fire module was "
        "explained untrained, while it learned, and trained. At first the layer holds colours, because they fill most "
        "pixels; as the network learns, it keeps the digit and throws the colours away."
    )
    header = [
        "training step",
        "accuracy",
        "samples read as the same digit",
        "spread of background colour in samples",
    ]
    rows = [
        [
            step,
            f"{f['accuracy']:.3f}",
            str(Estimate(**f["agreement"])),
            f"{f['colour_spread']['background']:.3f}",
        ]
        for step, f in metrics["checkpoints"].items()
    ]
    learning = Section("The network", intro, (), [Table(header, rows)])
    names = list(metrics["edits"])
    rates = [
        [swapped, *("" if own[n] is None else f"{own[n]:.2f}" for n in names)]
        for swapped, own in metrics["edits"].items()
    ]
    edits = edits_section(last)
    judged = Table(["swapped", *(f"{n} judged changed" for n in names)], rates)
    sections = [
        learning,
        *profile.sections(),
        Section(edits.title, edits.text, edits.pictures, [judged]),
        protocol_section(last.protocol),
    ]
    write_page(out / "report.html", "What SqueezeNet keeps of a coloured digit, and what it throws away", sections)
