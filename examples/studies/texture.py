"""Shape or texture: a small network trained on images as they are, and its twin trained on stylised ones.

    python examples/studies/texture.py --fashion ROOT [--out DIR] [--seeds N] [--quick]
    python examples/studies/texture.py --photographs FOLDER [--probes FOLDER] [--out DIR] [--seeds N] [--quick]

With `--fashion` the images are clothes; ROOT is torchvision's folder (ROOT/FashionMNIST/raw). With `--photographs` they
are a folder's, a sub-folder for each class, at 48 px; `--probes` are other images to show samples for: textures,
sketches, cartoons. With neither, coloured digits. Both networks, SmallNet of `twins.py`, are trained here;
for the twin every image has the amplitude spectrum of another.

Writes DIR/texture.html and DIR/texture.json. About 6 minutes a seed on two cores. `--quick` is a first look in some
minutes; its metrics are rough.

The paper's scale (BigGAN's images, ResNet-50 against the published stylised-trained one; a GPU's work of days), in
Python:

    decoder = invkit.load_autoencoder("biggan:biggan-256", weights="biggan-256.pth")
    explainer = invkit.Explainer(decoder.image_set(50_000), settings="paper", cache="CACHE")
    twin = invkit.load_model("torchvision:resnet50", weights="STYLISED.pth")
    models = {"ImageNet": "torchvision:resnet50", "Stylized-ImageNet": twin}
    invkit.studies.texture(explainer, models, "avgpool", probes="FOLDER")
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from classifiers import FIT
from subjects import arguments, explainer, run_study
from twins import LAYERS, train_twins

from invkit.data import ImageSet, as_image_set, color_digits, evenly_spaced
from invkit.studies import Study, texture

CLOTHES, PHOTOGRAPHS = 12_000, 48  # images, px


def main() -> None:
    """Train both networks for each seed, run the study, and write its page."""
    options = arguments(
        __doc__,
        fashion="with FashionMNIST/raw in it",
        photographs="with a folder for each class",
        probes="of other images to show samples for",
    )

    def run(seed: int) -> Study:
        images, concept = chosen(options.fashion, options.photographs, seed)
        train, test = images.split(0.15, seed)
        networks = train_twins(
            train,
            test,
            concept=concept,
            mirror=options.photographs is not None,
            settings=replace(FIT, steps=400) if options.quick else FIT,
            seed=seed,
            cache=options.out / "cache",
        )
        addresses = LAYERS[-2:] if options.quick or options.photographs else LAYERS[1:]
        shared = explainer(train, options, seed, held_out=test)
        return texture(shared, networks, addresses, cues=concept, probes=options.probes)

    run_study(run, options)


def chosen(fashion: Path | None, photographs: Path | None, seed: int) -> tuple[ImageSet, str]:
    """Return the images and the name of their classes."""
    if photographs is not None:
        return as_image_set(photographs, size=PHOTOGRAPHS), "class"
    if fashion is None:
        return color_digits(copies=8, seed=seed), "digit"
    whole = as_image_set(f"fashion-mnist:{fashion}")
    return whole.take(evenly_spaced(len(whole), CLOTHES)), "class"


if __name__ == "__main__":
    main()
