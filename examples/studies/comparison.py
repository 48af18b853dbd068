"""invkit's samples against Dosovitskiy & Brox's regressed images, at layers of a network that names coloured digits.

    python examples/studies/comparison.py [--out DIR] [--seeds N] [--quick]

The embedding of a representation has 1,024 numbers here, for images of 28 px; in the paper it has 4,096.

Writes DIR/comparison.html and DIR/comparison.json. About 14 minutes a seed on two cores; the parts that `make demo`
has trained are found with `--out demo-output`. `--quick` is a first look in four minutes; its metrics are rough.

The paper's scale (ImageNet's animals at 128 px, which ResNet sees at its 224; a GPU's work of weeks), from Python:

    explainer = invkit.Explainer("FOLDER", autoencoder="AUTOENCODER", settings="paper", cache="CACHE")
    layers = ["maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    inception = invkit.evaluation.Features.inception()
    invkit.studies.comparison(explainer, "torchvision:resnet101", layers, features=inception)

with AUTOENCODER from `invkit train-autoencoder FOLDER --preset paper --out AUTOENCODER`.
"""

from __future__ import annotations

from subjects import arguments, digits_network, explainer, run_study

from invkit.studies import Study, comparison

LAYERS = ["features.4", "features.11", "classifier.3"]  # second Fire, penultimate Fire, class scores


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__)

    def run(seed: int) -> Study:
        network, train, test = digits_network(options.out / "cache", seed)
        return comparison(
            explainer(train, options, seed, held_out=test),
            network,
            LAYERS[1:] if options.quick else LAYERS,
            gradient=not options.quick,
            latent_dim=1024,
        )

    run_study(run, options)


if __name__ == "__main__":
    main()
