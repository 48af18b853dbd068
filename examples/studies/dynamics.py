"""How SqueezeNet's penultimate Fire comes to hold the digit, and lets go of its colours, while it learns.

    python examples/studies/dynamics.py [--out DIR] [--seeds N] [--quick]

Writes DIR/dynamics.html and DIR/dynamics.json. About 9 minutes a seed on two cores; the parts that `make demo` has
trained are found with `--out demo-output`. `--quick` is a first look in three minutes; its figures are rough.

The paper's scale (20 checkpoints of 36,000 steps, fig. 4 and S7; a GPU's work of days), from Python:

    checkpoints = {step: invkit.load_model("torchvision:squeezenet1_1", weights=f"{step}.pt") for step in steps}
    invkit.studies.dynamics(
        checkpoints, "features.11", invkit.data.color_digits(), task="digit", settings=invkit.Settings.paper(),
        cache="CACHE",
    )
"""

from __future__ import annotations

from subjects import arguments, digits_checkpoints, told

from invkit.studies import Study, dynamics


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__)

    def run(seed: int) -> Study:
        networks, train, test = digits_checkpoints(options.out / "cache", seed)
        if options.quick:
            networks = {step: networks[step] for step in (min(networks), max(networks))}
        return dynamics(
            networks,
            "features.11",
            train,
            task="digit",
            held_out=test,
            settings=options.settings,
            seed=seed,
            cache=options.out / "cache",
        )

    told(run, options)


if __name__ == "__main__":
    main()
