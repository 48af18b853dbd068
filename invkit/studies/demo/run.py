"""The demo, from nothing to a report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from invkit.data import color_digits
from invkit.evaluation import Judge
from invkit.explainer import Explainer
from invkit.explanation import Explanation
from invkit.explanation.profile import Profile
from invkit.interpretees import ModuleInterpretee
from invkit.studies.demo.judged import agreement, edit_rates, spread
from invkit.studies.demo.network import CHECKPOINTS, LAYER, NETWORK, PREPROCESS, accuracy, train_checkpoints
from invkit.studies.demo.report import write_report
from invkit.studies.judging import trained_judge
from invkit.utils.progress import log

__all__ = ["prepared", "run_demo"]


def run_demo(out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Train SqueezeNet on ColorDigits, explain its penultimate Fire module while it learns, and write a report.

    The report is written twice: first for the untrained and the trained network, then with the checkpoints between
    them and with what an independent judge reads from samples and edits. All trained parts are kept in `out`/cache
    and found again.

    Args:
        out: folder of the report.
        seed: of every random draw.

    Returns:
        all metrics, as in `out`/metrics.json.
    """
    begun = time.monotonic()
    models, explainer = prepared(out / "cache", seed=seed)
    first, *between, last = models
    found = {step: _explain(explainer, models, step) for step in (first, last)}
    metrics = _write(out, explainer, models, found)
    log(f"first report after {time.monotonic() - begun:.0f} s: {out / 'report.html'}")
    found |= {step: _explain(explainer, models, step) for step in between}
    metrics = _write(out, explainer, models, found, trained_judge(explainer))
    log(f"whole report after {time.monotonic() - begun:.0f} s: {out / 'report.html'}")
    return metrics


def prepared(cache: Path, *, seed: int) -> tuple[dict[int, nn.Module], Explainer]:
    """Return SqueezeNet at its checkpoints, by training step, and a fitted Explainer of ColorDigits."""
    train, test = color_digits("train", seed=seed), color_digits("test", copies=4, seed=seed)
    models = train_checkpoints(train, test, NETWORK, CHECKPOINTS, seed=seed, cache=cache)
    return models, Explainer(train, held_out=test, seed=seed, cache=cache).fit(strict=True)


def _explain(explainer: Explainer, models: Mapping[int, nn.Module], step: int) -> Explanation:
    interpretee = ModuleInterpretee(models[step], PREPROCESS)
    found = next(explainer.explain_each(interpretee, [LAYER], name=f"step {step},", strict=True))
    log(f"step {step}: {found!r}")
    return found


def _write(
    out: Path,
    explainer: Explainer,
    models: Mapping[int, nn.Module],
    found: Mapping[int, Explanation],
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Write the report, and return its metrics; those of samples and edits if there is a judge."""
    profile = Profile({str(step): found[step] for step in sorted(found)}, axis="training step")
    digits, checkpoints = explainer.held_out, profile.to_dict()
    metrics: dict[str, Any] = {"seed": explainer.seed, "checkpoints": checkpoints}
    for step, explanation in found.items():
        own = checkpoints[str(step)]
        own["accuracy"] = accuracy(models[step], digits)
        if judge is not None:
            own["agreement"] = vars(agreement(explanation, judge))
            own["colour_spread"] = {c: spread(explanation, judge, c) for c in ("foreground", "background")}
    if judge is not None:
        metrics["edits"] = edit_rates(found[max(found)], judge)
        read = judge.read(digits.images())["digit"]
        metrics["judge_accuracy"] = float((read == digits.concepts["digit"].values).float().mean())
    write_report(out, profile, metrics)
    return metrics
