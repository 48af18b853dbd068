"""Where along the layers an attack becomes visible, in a network that names coloured digits.

    python examples/studies/adversarial.py [--attack pgd] [--target DIGIT] [--out DIR] [--seeds N] [--quick]

Writes DIR/adversarial.html and DIR/adversarial.json. Some 15 minutes a seed on two cores; the parts that `make demo`
has trained are found with `--out demo-output`. `--quick` is a first look in some minutes; its metrics are rough.
Needs captum (`pip install captum`).

The attack is the authors', FGSM, unless `--attack` says another; ε = 0.02. With `--target` it is towards that digit.

The paper's scale (ImageNet's animals at 128 px, which ResNet sees at its 224; a GPU's work of weeks), from Python:

    explainer = invkit.Explainer("FOLDER", autoencoder="AUTOENCODER", settings="paper", cache="CACHE")
    layers = ["maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    invkit.studies.adversarial(explainer, "torchvision:resnet101", layers, concept=None)

with AUTOENCODER from `invkit train-autoencoder FOLDER --preset paper --out AUTOENCODER`.
"""

from __future__ import annotations

from subjects import arguments, digits_network, explainer, run_study

from invkit.studies import Attack, Study, adversarial

LAYERS = ["features.5", "features.7", "features.11", "classifier.3"]  # a pool, 4th and 7th Fire, scores


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__, {"attack": "fgsm or pgd", "target": "digit to be read; any but the right one without"})

    def run(seed: int) -> Study:
        network, train, test = digits_network(options.out / "cache", seed)
        return adversarial(
            explainer(train, options, seed, held_out=test),
            network,
            LAYERS,
            concept="digit",
            attack=Attack(options.attack or "fgsm", target=options.target),
            judge=True,
        )

    run_study(run, options)


if __name__ == "__main__":
    main()
