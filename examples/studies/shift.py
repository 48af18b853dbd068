"""A network explained on images of another domain than the one it was trained on.

    python examples/studies/shift.py --fashion ROOT [--out DIR] [--seeds N] [--quick]
    python examples/studies/shift.py --animals FOLDER [--out DIR] [--seeds N] [--quick]

With `--fashion` clothes go through a network that names coloured digits, beside the digits themselves; ROOT is
torchvision's folder (ROOT/FashionMNIST/raw). With `--animals` photographs of animals (a sub-folder for each class) go
through MTCNN's O-Net, which tells faces of people from all else (needs invkit-facenet).

Writes DIR/shift.html and DIR/shift.json. About 10 minutes a seed on two cores. `--quick` is a first look in some
minutes; its metrics are rough.

The paper's scale (animals at 128 px, which FaceNet sees at its 160, beside CelebA; a GPU's work of weeks), from Python:

    explainer = invkit.Explainer("ANIMALFACES", autoencoder="AUTOENCODER", settings="paper", cache="CACHE")
    layers = ["second_conv", "mixed_down", "avgpool", "identity_embedding"]
    invkit.studies.shift(explainer, "facenet:vggface2", layers, home="CELEBA")

with AUTOENCODER from `invkit train-autoencoder FOLDER --preset paper --out AUTOENCODER`, where FOLDER has both.
"""

from __future__ import annotations

from pathlib import Path

from subjects import arguments, digits_network, explainer, run_study

from invkit.data import ImageSet, as_image_set, evenly_spaced
from invkit.interpretees import load_model
from invkit.studies import Study, shift

DIGITS = ["features.5", "features.7", "features.11", "classifier.3"]  # a pool, 4th and 7th Fire, scores
ONET = ["conv2", "conv3", "conv4", "dense5"]
IMAGES = 12_000  # of each domain


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__, fashion="with FashionMNIST/raw in it", animals="with a folder for each class")
    if (options.fashion is None) == (options.animals is None):
        raise SystemExit("Give --fashion FOLDER or --animals FOLDER.")
    foreign = as_image_set(options.animals, size=48) if options.animals else clothes(options.fashion)

    def run(seed: int) -> Study:
        shared = explainer(foreign, options, seed)
        if options.animals is not None:
            return shift(shared, load_model("facenet:onet"), ONET)
        network, train, test = digits_network(options.out / "cache", seed)
        return shift(shared, network, DIGITS, home=some(train), home_held_out=test)

    run_study(run, options)


def clothes(root: Path) -> ImageSet:
    """Return some of Fashion-MNIST's training images."""
    return some(as_image_set(f"fashion-mnist:{root}"))


def some(images: ImageSet) -> ImageSet:
    """Return an even choice of images."""
    return images.take(evenly_spaced(len(images), IMAGES))


if __name__ == "__main__":
    main()
