"""What SqueezeNet's layers keep of a coloured digit, one after the other.

    python examples/studies/layers.py [--out DIR] [--seeds N] [--quick]
    python examples/studies/layers.py --animals FOLDER [--out DIR] [--seeds N] [--quick]

With `--animals` (or any photographs, a sub-folder for each class) it is what the layers of MTCNN's O-Net keep, whose
trained weights come with facenet-pytorch (needs invkit-facenet).

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

from subjects import arguments, digits_network, settings_for, told

from invkit.data import as_image_set
from invkit.interpretees import load_model
from invkit.settings import Settings
from invkit.studies import Study, layers

LAYERS = ["features.3", "features.7", "features.11", "classifier.3"]  # 2nd and 4th group, penultimate Fire, scores
ONET = ["conv2", "conv3", "conv4", "dense5"]


def main() -> None:
    """Run the study for each seed, and write its page."""
    options = arguments(__doc__, animals="with a folder for each class")
    animals = None if options.animals is None else as_image_set(options.animals, size=48)

    def run(seed: int) -> Study:
        shared = {"seed": seed, "cache": options.out / "cache"}
        if animals is not None:
            return layers(
                load_model("facenet:onet"), ONET, animals, settings=settings_for(animals, options.quick), **shared
            )
        network, train, test = digits_network(options.out / "cache", seed)
        return layers(
            network,
            LAYERS,
            train,
            held_out=test,
            settings=Settings.quick() if options.quick else None,
            **shared,
        )

    told(run, options)


if __name__ == "__main__":
    main()
