"""What SqueezeNet's layers keep of a coloured digit, one after the other.

    python examples/studies/layers.py [--out DIR] [--seeds N] [--quick]

Writes DIR/layers.html and DIR/layers.json. About 10 minutes a seed on two cores; the parts that `make demo` has trained
are found with `--out demo-output`. `--quick` is a first look in three minutes; its figures are rough.

The paper's scale (FaceNet at 128 px, fig. 3; a GPU's work of days), from Python:

    invkit.studies.layers(
        "facenet:vggface2", ["second_conv", "mixed_down", "avgpool", "identity_embedding"], "CELEBA",
        concepts="ATTRIBUTES.csv", autoencoder="AUTOENCODER", settings=invkit.Settings.paper(), cache="CACHE",
    )

with AUTOENCODER from `invkit train-autoencoder CELEBA --preset paper --out AUTOENCODER`.
"""

from __future__ import annotations

from subjects import arguments, digits_network, told

from invkit.settings import Settings
from invkit.studies import Study, layers

LAYERS = ["features.3", "features.7", "features.11", "classifier.3"]  # 2nd and 4th group, penultimate Fire, scores


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__)

    def run(seed: int) -> Study:
        network, train, test = digits_network(options.out / "cache", seed)
        return layers(
            network,
            LAYERS,
            train,
            held_out=test,
            settings=Settings.quick() if options.quick else None,
            seed=seed,
            cache=options.out / "cache",
        )

    told(run, options)


if __name__ == "__main__":
    main()
