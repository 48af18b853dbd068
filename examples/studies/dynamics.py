"""How SqueezeNet's penultimate Fire comes to represent the digit, and discards its colours, during training.

    python examples/studies/dynamics.py [--out DIR] [--seeds N] [--quick]

Writes DIR/dynamics.html and DIR/dynamics.json. About 9 minutes a seed on two cores; the parts that `make demo` has
trained are found with `--out demo-output`. `--quick` is a first look in three minutes; its metrics are rough.

The paper's scale (20 checkpoints of 36,000 steps, fig. 4 and S7; a GPU's work of days), for each file a --checkpoint:

    invkit study dynamics my_models.py:build features.11 color-digits --task digit --preset paper \\
        --checkpoint 0.pt --checkpoint 1800.pt --checkpoint 36000.pt

with `build` in my_models.py, which gives torchvision's squeezenet1_1(num_classes=10).
"""

from __future__ import annotations

from subjects import arguments, digits_checkpoints, explainer, run_study

from invkit.studies import Study, dynamics


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__)

    def run(seed: int) -> Study:
        networks, train, test = digits_checkpoints(options.out / "cache", seed)
        if options.quick:
            networks = {step: networks[step] for step in (min(networks), max(networks))}
        return dynamics(explainer(train, options, seed, held_out=test), networks, "features.11", task="digit")

    run_study(run, options)


if __name__ == "__main__":
    main()
