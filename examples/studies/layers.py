"""What SqueezeNet's layers keep of a coloured digit, one after the other.

    python examples/studies/layers.py [--out DIR] [--seeds N] [--quick]
    python examples/studies/layers.py --network resnet18 [--out DIR] [--seeds N] [--quick]
    python examples/studies/layers.py --animals FOLDER [--out DIR] [--seeds N] [--quick]

With `--network resnet18` it is what the layers of torchvision's ResNet-18 keep, which is trained here to name the
digits. With `--animals` (or any photographs, a sub-folder for each class) it is what the layers of MTCNN's O-Net keep,
whose trained weights come with facenet-pytorch (needs invkit-facenet).

Writes DIR/layers.html and DIR/layers.json. About 10 minutes a seed on two cores; the parts that `make demo` has trained
are found with `--out demo-output`. `--quick` is a first look in three minutes; its metrics are rough.

The paper's scale (faces at 128 px, which FaceNet sees at its 160, fig. 3; a GPU's work of days), from Python:

    explainer = invkit.Explainer(
        "CELEBA", concepts="ATTRIBUTES.csv", autoencoder="AUTOENCODER", settings="paper", cache="CACHE"
    )
    layers = ["second_conv", "mixed_down", "avgpool", "identity_embedding"]
    invkit.studies.layers(explainer, "facenet:vggface2", layers)

with AUTOENCODER from `invkit train-autoencoder CELEBA --preset paper --out AUTOENCODER`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from classifiers import FIT, PREPROCESS, train_classifier
from subjects import arguments, digits, digits_network, explainer, run_study
from torchvision.models import resnet18

from invkit.core import Interpretee
from invkit.data import ImageSet, as_image_set
from invkit.interpretees import as_interpretee, load_model
from invkit.studies import Study, layers
from invkit.utils.random import seeded

LAYERS = ["features.3", "features.7", "features.11", "classifier.3"]  # 2nd and 4th group, penultimate Fire, scores
RESNET = ["layer1", "layer2", "layer4", "fc"]
ONET = ["conv2", "conv3", "conv4", "dense5"]


def main() -> None:
    """Run the study for each seed, and write its page."""
    words = {"network": "that classifies the digits: squeezenet (default) or resnet18"}
    options = arguments(__doc__, words, animals="with a folder for each class")
    if options.network not in (None, "squeezenet", "resnet18"):
        raise SystemExit(f"--network squeezenet or resnet18, not {options.network}.")
    animals = None if options.animals is None else as_image_set(options.animals, size=48)

    def run(seed: int) -> Study:
        if animals is not None:
            return layers(explainer(animals, options, seed), load_model("facenet:onet"), ONET)
        if options.network == "resnet18":
            (network, train, test), addresses = digits_resnet(options.out / "cache", seed, options.quick), RESNET
        else:
            (network, train, test), addresses = digits_network(options.out / "cache", seed), LAYERS
        return layers(explainer(train, options, seed, held_out=test), network, addresses)

    run_study(run, options)


def digits_resnet(cache: Path, seed: int, quick: bool) -> tuple[Interpretee, ImageSet, ImageSet]:
    """Return a ResNet-18 that names the digits, which it sees at 32 px, and its images."""
    train, test = digits(seed)
    with seeded(seed, "resnet18"):
        network = resnet18(num_classes=10)
    settings = replace(FIT, steps=40, evaluate_every=20) if quick else replace(FIT, steps=600, learning_rate=1e-3)
    seen = replace(PREPROCESS, size=32)
    train_classifier(network, train, test, concept="digit", preprocess=seen, settings=settings, seed=seed, cache=cache)
    return as_interpretee(network, seen), train, test


if __name__ == "__main__":
    main()
