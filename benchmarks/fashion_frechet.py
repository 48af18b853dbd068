"""Fashion-MNIST: Fréchet distances of reconstructions, of samples given a layer, and of samples of the prior.

python benchmarks/fashion_frechet.py ROOT [OUT]

ROOT is torchvision's folder (ROOT/FashionMNIST/raw). Distances are in the last hidden layer of a classifier that is
trained here, all of 10,000 test images against as many that are made. Half an hour on two cores.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import invkit
from invkit.data import decode_all, evenly_spaced, represent_all
from invkit.evaluation import Features, frechet_distance
from invkit.explainer.invariance import train_t
from invkit.interpretees import ModuleInterpretee
from invkit.report.figures import sample_sheet, write_png
from invkit.utils.random import generator_for, seeded

STEPS = 1500
LAYERS = ("1", "7")  # the first ReLU's maps, and the last hidden layer


def trained_classifier(data):
    with seeded(0, "classifier"):
        model = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    labels = data.concepts["class"].values
    for step in range(STEPS):
        rows = torch.randint(len(data), (256,), generator=generator_for(0, "classifier", step))
        loss = F.cross_entropy(model(data.images(rows)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def main(root, out):
    out.mkdir(parents=True, exist_ok=True)
    train, test = (
        invkit.as_image_set(torchvision.datasets.FashionMNIST(root, train=part, download=False))
        for part in (True, False)
    )
    test = test.match_classes(train)
    model = trained_classifier(train)
    interpretee = ModuleInterpretee(model, invkit.Preprocess())
    scores = torch.cat([interpretee.decide(test.images(slice(k, k + 500))) for k in range(0, len(test), 500)])
    print(f"classifier: accuracy {(scores.argmax(1) == test.concepts['class'].values).float().mean():.3f}", flush=True)
    features = Features(interpretee, LAYERS[-1])
    real = features.of(test.images())
    plain = (invkit.ImageSet(part.pixels) for part in (train, test))
    explainer = invkit.Explainer(next(plain), held_out=next(plain), cache=out / "cache").fit()
    autoencoder, codes = explainer.autoencoder, explainer.held_out_codes

    def report(name, latents):
        print(f"{name:<46} {frechet_distance(real, features.of(decode_all(autoencoder, latents)))}", flush=True)

    print(f"reconstructions at {explainer.metrics['psnr']:.1f} dB; Fréchet distance of")
    others = frechet_distance(real, features.of(train.images(slice(len(test)))))
    print(f"{'other images (training ones, as many)':<46} {others}")
    report("reconstructions", codes.mean[:])
    report("the prior's draws, z̄ ~ N(0, 1)", torch.randn(codes.mean.shape, generator=generator_for(0, "prior")))
    z_train, z_test = (
        represent_all(interpretee, LAYERS, part) for part in (explainer.train_copies, explainer.held_out)
    )
    rows = evenly_spaced(len(test), 8)
    for layer in LAYERS:
        key = f"{interpretee.fingerprint()}{layer}"
        t, _ = train_t(explainer, (z_train[layer], z_test[layer]), key, f"t of {layer}")
        seen = t.perceive(z_test[layer], generator_for(0, "z"))
        with torch.inference_mode():
            drawn = [t.sample(part, 1, generator_for(0, "v", k))[:, 0] for k, part in enumerate(seen.split(500))]
            few = t.sample(seen[rows], 6, generator_for(0, "few"))
        report(f"samples D(t⁻¹(v | z)), layer {layer}", torch.cat(drawn))
        made = decode_all(autoencoder, few.flatten(0, 1)).unflatten(0, (8, 6))
        sheet = sample_sheet(test.images(rows), decode_all(autoencoder, codes.mean[rows]), made, f"layer {layer}")
        sheet.savefig(out / f"samples-{layer}.png", dpi=110, bbox_inches="tight")
    prior = torch.randn(48, codes.mean.shape[1], generator=generator_for(0, "shown"))
    write_png(out / "prior.png", [decode_all(autoencoder, prior).unflatten(0, (6, 8))])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "fashion-output"))
