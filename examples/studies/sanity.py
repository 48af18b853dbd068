"""Whether the explanation of SqueezeNet's penultimate Fire depends on its weights.

    python examples/studies/sanity.py [--out DIR] [--seeds N] [--quick]

Writes DIR/sanity.html and DIR/sanity.json. About 6 minutes a seed on two cores; the parts that `make demo` has trained
are found with `--out demo-output`. `--quick` is a first look in three minutes; its metrics are rough.

For a network and photographs of yours:

    invkit study sanity my_models.py:build layer3 photographs/ --stages 4
"""

from __future__ import annotations

from subjects import arguments, digits_network, explainer, run_study

from invkit.studies import Study, sanity


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__)

    def run(seed: int) -> Study:
        network, train, test = digits_network(options.out / "cache", seed)
        shared = explainer(train, options, seed, held_out=test)
        return sanity(shared, network, "features.11", stages=1 if options.quick else 2)

    run_study(run, options)


if __name__ == "__main__":
    main()
