"""Flows in the form of the authors' release: written here as in the release, with swapped halves, in plain torch."""

import itertools

import pytest
import torch
from torch import nn

from invkit.errors import ArtefactError
from invkit.flows.invariance import standard_normal_nll
from invkit.flows.released import read_released_cinn, read_released_semantic

WIDTH, BLOCKS, HIDDEN = 6, 3, 10


class TheirActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.loc = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.scale = nn.Parameter(0.5 + torch.rand(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(1, dtype=torch.uint8))

    def forward(self, x):
        return self.scale * (x + self.loc)


class TheirPerceptron(nn.Module):
    def __init__(self, inputs, outputs, tanh):
        super().__init__()
        sizes = [inputs, HIDDEN, HIDDEN, HIDDEN]
        layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.LeakyReLU(0.01))]
        self.main = nn.Sequential(*layers, nn.Linear(HIDDEN, outputs), *([nn.Tanh()] if tanh else []))

    def forward(self, x):
        return self.main(x)


class TheirCoupling(nn.Module):
    def __init__(self, condition):
        super().__init__()
        half = WIDTH // 2
        self.s = nn.ModuleList([TheirPerceptron(half + condition, half, True) for _ in range(2)])
        self.t = nn.ModuleList([TheirPerceptron(half + condition, half, False) for _ in range(2)])

    def forward(self, x, h):
        log_det = 0
        for step in range(2):
            a, b = x.chunk(2, 1)
            if step == 1:
                a, b = b, a  # halves are swapped, and not swapped back
            driving = torch.cat([a, h], 1)
            s = self.s[step](driving)
            x, log_det = torch.cat([a, b * s.exp() + self.t[step](driving)], 1), log_det + s.sum(1)
            # step 0 gives (a, b'), step 1 reads (b', a) and gives (b', a')
        return x, log_det


class TheirShuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("forward_shuffle_idx", torch.randperm(WIDTH))
        self.register_buffer("backward_shuffle_idx", self.forward_shuffle_idx.argsort())

    def forward(self, x):
        return x[:, self.forward_shuffle_idx]


class TheirFlow(nn.Module):
    def __init__(self, condition, names=("norm_layer", "coupling", "shuffle")):
        super().__init__()
        self.names = names
        self.sub_layers = nn.ModuleList()
        for _ in range(BLOCKS):
            block = nn.Module()
            for name, part in zip(names, (TheirActNorm(WIDTH), TheirCoupling(condition), TheirShuffle()), strict=True):
                block.add_module(name, part)
            self.sub_layers.append(block)

    def forward(self, x, h):
        total = 0
        for block in self.sub_layers:
            norm, coupling, shuffle = (block.get_submodule(name) for name in self.names)
            x = norm(x[..., None, None])[..., 0, 0]
            x, log_det = coupling(x, h)
            x, total = shuffle(x), total + log_det + norm.scale.abs().log().sum()
        return x, total


class TheirCINN(nn.Module):
    def __init__(self, embedder):
        super().__init__()
        self.flow, self.embedder = TheirFlow(WIDTH), embedder


def vector_embedder():
    embedder = nn.Module()
    widths = [9, 8, 7, WIDTH]  # int(linspace(9, 6, 4))
    layers = [
        p for a, b in itertools.pairwise(widths) for p in (nn.Conv2d(a, b, 1), TheirActNorm(b), nn.LeakyReLU(0.2))
    ]
    embedder.net = nn.Sequential(*layers[:-2])
    return embedder, lambda z: embedder.net(z[..., None, None]).flatten(1)


def map_embedder():
    embedder = nn.Module()
    embedder.feature_layers, embedder.dense_encode = nn.ModuleList(), nn.Module()
    channels = 5
    for out in (64, 128):
        layer = nn.Module()
        layer.sub_layers = nn.ModuleList(
            [nn.Conv2d(channels, out, 4, 2, 1, bias=False), TheirActNorm(out), nn.LeakyReLU(0.2)]
        )
        embedder.feature_layers.append(layer)
        channels = out
    embedder.dense_encode.sub_layers = nn.ModuleList([nn.Conv2d(128, WIDTH, 3)])

    def run(z):
        for layer in embedder.feature_layers:
            for part in layer.sub_layers:
                z = part(z)
        return embedder.dense_encode.sub_layers[0](z).flatten(1)

    return embedder, run


@pytest.mark.parametrize(("build", "z"), [(vector_embedder, (9,)), (map_embedder, (5, 13, 13))])
@torch.no_grad()
def test_a_released_cinn_is_the_same_map(tmp_path, build, z):
    embedder, embed = build()
    theirs = TheirCINN(embedder)
    torch.save({"model": theirs.state_dict()}, tmp_path / "cinn.ckpt")
    t = read_released_cinn(tmp_path / "cinn.ckpt", z if len(z) == 3 else None)
    codes, seen = torch.randn(4, WIDTH), torch.randn(4, *z)
    value, log_det = theirs.flow(codes, embed(seen))
    found = t(codes, t.perceive(seen))
    assert torch.allclose(found.value, value, atol=1e-4)
    assert torch.allclose(found.log_det, log_det, atol=1e-4)
    assert torch.allclose(t.inverse(value, t.perceive(seen)), codes, atol=1e-3)


@torch.no_grad()
def test_a_released_semantic_flow_is_the_same_map(tmp_path):
    theirs = nn.Module()
    theirs.realnvp = nn.Module()
    theirs.realnvp.flow = nn.ModuleList()
    flow = TheirFlow(0)
    for block in flow.sub_layers:
        inner = nn.Module()
        inner.flow = nn.ModuleList(block.get_submodule(name) for name in flow.names)
        theirs.realnvp.flow.append(inner)
    torch.save({"model": theirs.state_dict()}, tmp_path / "e.ckpt")
    e = read_released_semantic(tmp_path / "e.ckpt", {"digit": 2, "residual": 4})
    codes = torch.randn(4, WIDTH)
    value, log_det = flow(codes, codes[:, :0])
    found = e(codes)
    assert torch.allclose(found.value, value, atol=1e-4)
    assert torch.allclose(
        standard_normal_nll(found.value) - found.log_det, standard_normal_nll(value) - log_det, atol=1e-3
    )


def test_other_layouts_raise(tmp_path):
    theirs = TheirCINN(vector_embedder()[0]).state_dict()
    cases = [
        ({"a": torch.zeros(1)}, "flow.sub_layers.0"),
        (theirs | {"flow.more": torch.zeros(1)}, "flow.more"),
        (theirs | {"flow.sub_layers.0.norm_layer.scale": -torch.ones(1, WIDTH, 1, 1)}, "scales from"),
    ]
    for state, message in cases:
        torch.save(state, tmp_path / "wrong.ckpt")
        with pytest.raises(ArtefactError, match=message):
            read_released_cinn(tmp_path / "wrong.ckpt")
    maps = TheirCINN(map_embedder()[0]).state_dict()
    torch.save(maps, tmp_path / "map.ckpt")
    with pytest.raises(ArtefactError, match=r"\(C, H, W\)"):
        read_released_cinn(tmp_path / "map.ckpt")
    with pytest.raises(ArtefactError, match="for this `shape`"):
        read_released_cinn(tmp_path / "map.ckpt", (5, 30, 30))
