"""Whether the explanation of SqueezeNet's penultimate Fire hangs on its weights.

    python examples/studies/sanity.py [--out DIR] [--seeds N] [--quick]

Writes DIR/sanity.html and DIR/sanity.json. About 6 minutes a seed on two cores; the parts that `make demo` has trained
are found with `--out demo-output`. `--quick` is a first look in three minutes; its metrics are rough.

For a network and photographs of yours:

    invkit study sanity my_models.py:build layer3 photographs/ --stages 4
"""

from __future__ import annotations

from subjects import arguments, digits_network, told

from invkit.studies import Study, sanity


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__)

    def run(seed: int) -> Study:
        network, train, test = digits_network(options.out / "cache", seed)
        return sanity(
            network,
            "features.11",
            train,
            stages=1 if options.quick else 2,
            held_out=test,
            settings=options.settings,
            seed=seed,
            cache=options.out / "cache",
        )

    told(run, options)


if __name__ == "__main__":
    main()
