"""Digit, foreground and background of coloured digits swapped, against attribute arithmetic and a small StarGAN.

    python examples/studies/modification.py [--out DIR] [--seeds N] [--quick]

Writes DIR/modification.html and DIR/modification.json. About 8 minutes a seed on two cores; the parts that `make demo`
has trained are found with `--out demo-output`. `--quick` is a first look in two minutes; its metrics are rough.

The paper's scale (CelebA's hair, glasses, gender, beard, age and smile at 128 px, a GPU's work of weeks), from Python:

    explainer = invkit.Explainer(
        "FOLDER", concepts="ATTRIBUTES.csv", autoencoder="AUTOENCODER", settings="paper", cache="CACHE"
    )
    inception = invkit.evaluation.Features.inception()
    invkit.studies.modification(explainer, features=inception, star_gan=True)

with AUTOENCODER from `invkit train-autoencoder FOLDER --preset paper --out AUTOENCODER`.
"""

from __future__ import annotations

from subjects import arguments, digits, explainer, run_study

from invkit.studies import Study, modification
from invkit.studies.demo.judged import legible


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__)

    def run(seed: int) -> Study:
        train, test = digits(seed)
        return modification(explainer(train, options, seed, held_out=test), fit=legible, star_gan=not options.quick)

    run_study(run, options)


if __name__ == "__main__":
    main()
