"""State dicts in the form of the authors' release, made here from a network that is built their way."""

import pytest
import torch
import torchvision
from torch import nn

import invkit
from invkit.autoencoders import BigAutoencoder
from invkit.autoencoders.biggan import BigGAN
from invkit.errors import ArtefactError


class TheirActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.loc = nn.Parameter(0.1 * torch.randn(1, channels, 1, 1))
        self.scale = nn.Parameter(0.5 + torch.rand(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(1, dtype=torch.uint8))

    def forward(self, x, *_):
        return self.scale * (x + self.loc)


class Theirs(nn.Module):
    """Encoder and decoder by their names; the generator's parts are proven against others in invkit-biggan's tests."""

    def __init__(self, actnorm):
        super().__init__()
        norm = TheirActNorm if actnorm else nn.BatchNorm2d
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.model = torchvision.models.resnet18(norm_layer=norm)
        self.encoder.model.fc = nn.Module()
        self.encoder.model.fc.sub_layers = nn.ModuleList([nn.Conv2d(512, 64, 1)])
        self.decoder.map_to_class_embedding = nn.Module()
        self.decoder.map_to_class_embedding.main = nn.Sequential(
            nn.Linear(32, 22), nn.LeakyReLU(), nn.Linear(22, 22), nn.LeakyReLU(), nn.Linear(22, 22), nn.LeakyReLU(),
            nn.Linear(22, 11),
        )  # fmt: skip
        self.decoder.decoder = BigGAN(128, 4, 11, 32)
        if actnorm:
            self.decoder.decoder.ScaledCrossReplicaBN = TheirActNorm(4)

    def encode(self, images):
        x, model = 2 * images - 1, self.encoder.model
        for _ in range(2):
            mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            x = torchvision.transforms.functional.normalize(0.5 * (x + 1), mean, std)
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        x = model.avgpool(model.layer4(model.layer3(model.layer2(model.layer1(x)))))
        return model.fc.sub_layers[0](x).flatten(1).chunk(2, 1)

    def decode(self, z):
        classes = self.decoder.map_to_class_embedding.main(z).softmax(1)
        return self.decoder.decoder(z, self.decoder.decoder.linear(classes)) / 2 + 0.5


@pytest.mark.parametrize("actnorm", [False, True])
@torch.no_grad()
def test_the_authors_weights_load_and_give_what_their_network_gives(tmp_path, actnorm):
    theirs = Theirs(actnorm).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), tmp_path / "animals.ckpt")
    ours = invkit.load_autoencoder("invkit:big-128", weights=tmp_path / "animals.ckpt")
    x, z = torch.rand(2, 3, 128, 128), torch.randn(2, 32)
    mean, log_variance = theirs.encode(x)
    found = ours.encode(x)
    assert (found.mean - mean).abs().max() < 1e-4 * mean.abs().max()
    assert torch.allclose(found.std.log(), 0.5 * log_variance.clamp(-30, 10), atol=1e-3)
    assert (ours.decode(z) - theirs.decode(z)).abs().max() < 1e-4
    assert not ours.training
    assert ours.config["encoder"] == "resnet18"


def test_missing_or_more_tensors_are_told(tmp_path):
    state = Theirs(False).state_dict()
    cut = {name: value for name, value in state.items() if not name.endswith("layer2.0.conv1.weight")}
    for wrong, message in ((cut, "layer2.0.conv1"), (state | {"loss.logvar": torch.zeros(1)}, "loss.logvar")):
        torch.save(wrong, tmp_path / "wrong.ckpt")
        with pytest.raises(ArtefactError, match=message):
            invkit.load_autoencoder("invkit:big-128", weights=tmp_path / "wrong.ckpt")


def test_our_own_weights_load_by_the_same_name(tmp_path):
    with pytest.raises(ArtefactError, match=r"'big-64' has no default weights.*authors"):
        invkit.load_autoencoder("invkit:big-64")
    model = invkit.load_autoencoder("invkit:big-64", weights="random")
    assert isinstance(model, BigAutoencoder)
    assert model.latent_shape == (128,)
