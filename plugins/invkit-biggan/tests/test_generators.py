"""Both generators against independent ones: Hugging Face's package, and plain torch with singular values by SVD."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from invkit_biggan.deep import BigGANDeep
from pytorch_pretrained_biggan import BigGAN as HuggingFaceBigGAN
from pytorch_pretrained_biggan import BigGANConfig

from invkit.autoencoders.biggan import BigGAN
from invkit.autoencoders.spectral import PowerStep

WIDTH, CLASSES = 16, 7


@pytest.fixture(scope="module")
@torch.no_grad()
def reference():
    """Hugging Face's BigGAN-deep at 128 px, narrow, in float64; all is random, statistics vary by truncation."""
    torch.manual_seed(1)
    network = HuggingFaceBigGAN(BigGANConfig(channel_width=WIDTH, num_classes=CLASSES)).double().eval()
    for name, tensor in network.state_dict().items():
        if "running_vars" in name:
            tensor.uniform_(0.5, 1.5)
        elif "running_means" in name or name.endswith(("bias", "gamma")):
            tensor.normal_(std=0.3)
        elif name == "generator.bn.weight":
            tensor.uniform_(0.1, 0.2)
    network.train()  # each pass is a power iteration
    for _ in range(5):
        network(torch.zeros(1, 128).double(), torch.zeros(1, CLASSES).double(), 1.0)
    return network.eval()


def deep(reference, **options):
    ours = BigGANDeep(128, WIDTH, CLASSES, **options).double()
    ours.load_state_dict(reference.state_dict())
    return ours


def not_flat(images):
    """Whether at least a tenth of the values is neither near grey nor near the ends of tanh."""
    return ((images.abs() > 0.1) & (images.abs() < 0.9)).double().mean() > 0.1


@torch.no_grad()
def both(reference, ours, truncation):
    z, classes = torch.randn(2, 128).double(), torch.tensor([3, 5])
    theirs = reference(z, F.one_hot(classes, CLASSES).double(), truncation)
    assert not_flat(theirs)
    return theirs, ours(z, ours.embeddings_of_classes[classes], truncation)


@pytest.mark.parametrize("truncation", [0.5, 1.0])
def test_deep_equals_the_reference_where_statistics_are_stored(reference, truncation):
    theirs, ours = both(reference, deep(reference), truncation)
    assert (theirs - ours).abs().max() < 1e-10


@pytest.mark.parametrize("truncation", [0.405, 0.58, 0.991])
def test_between_them_deep_equals_the_reference_only_with_swapped_weights(reference, truncation):
    theirs, ours = both(reference, deep(reference, swapped_statistics=True), truncation)
    assert (theirs - ours).abs().max() < 1e-10
    theirs, ours = both(reference, deep(reference), truncation)
    assert (theirs - ours).abs().max() > 1e-3


@pytest.mark.parametrize(("swapped", "index"), [(False, 20.25), (True, 20.75)])
def test_statistics_are_interpolated_linearly(swapped, index):
    norm = BigGANDeep(128, WIDTH, CLASSES, swapped).generator.bn
    norm.running_means.copy_(torch.arange(51.0)[:, None].expand(51, WIDTH))
    assert norm.statistics(0.405)[0].tolist() == pytest.approx([index] * WIDTH, abs=1e-4)


def plain_biggan(state, z, embedding, attention_before, eps):
    """BigGAN from its tensors in plain torch: singular values by SVD, explicit softmax, upsampling before 1×1."""

    def weight(name):
        w = state[f"{name}.module.weight_bar"]
        return w / torch.linalg.matrix_norm(w.flatten(1), 2)

    def conv(name, x):
        return F.conv2d(x, weight(name), state.get(f"{name}.module.bias"), padding="same")

    def norm(name, x, condition):
        mean, variance = (state[f"{name}.bn.running_{kind}"][:, None, None] for kind in ("mean", "var"))
        gain, shift = (condition @ weight(f"{name}.{kind}_embed").T for kind in ("gamma", "beta"))
        return (x - mean) / (variance + 1e-4).sqrt() * (1 + gain)[..., None, None] + shift[..., None, None]

    def up(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("GBlock"))
    first, *chunks = z.chunk(blocks + 1, 1)
    x = first @ weight("G_linear").T + state["G_linear.module.bias"]
    x = x.view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    for i, chunk in enumerate(chunks):
        if i == attention_before:
            query, key, value = (conv(f"attention.{n}", x) for n in ("theta", "phi", "g"))
            key, value = F.max_pool2d(key, 2).flatten(2), F.max_pool2d(value, 2).flatten(2)
            rows = query.flatten(2).mT.split(1024, 1)  # few at a time: the whole matrix takes 0.5 GB at 256 px
            seen = torch.cat([value @ (q @ key).softmax(-1).mT for q in rows], 2)
            x = x + state["attention.gamma"] * conv("attention.o_conv", seen.view(len(z), -1, *x.shape[2:]))
        condition, name = torch.cat([chunk, embedding], 1), f"GBlock.{i}"
        inner = conv(f"{name}.conv0", up(norm(f"{name}.HyperBN", x, condition).relu()))
        inner = conv(f"{name}.conv1", norm(f"{name}.HyperBN_1", inner, condition).relu())
        x = inner + conv(f"{name}.conv_sc", up(x))
    last = "ScaledCrossReplicaBN"
    names = (f"{last}.running_mean", f"{last}.running_var", f"{last}.weight", f"{last}.bias")
    x = F.batch_norm(x, *(state[n] for n in names), eps=eps).relu()
    return conv("colorize", x).tanh()


@pytest.mark.parametrize(("size", "attention_before", "eps"), [(128, 4, 1e-4), (256, 5, 1e-4), (512, 4, 1e-5)])
@torch.no_grad()
def test_biggan_equals_plain_torch_with_exact_singular_values(size, attention_before, eps):
    network = BigGAN(size, width=8, classes=CLASSES).double().eval()
    for name, tensor in network.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.5, 1.5)
        elif "running_mean" in name or name.endswith(("bias", "gamma")):
            tensor.normal_(std=0.3)
        elif name == "ScaledCrossReplicaBN.weight":
            tensor.uniform_(0.1, 0.2)
        elif name.endswith("weight_bar"):  # large, so that the 1e-4 that the published code adds to norms is nothing
            tensor.mul_(1e6)
            u = torch.linalg.svd(tensor.flatten(1), full_matrices=False).U[:, 0]
            network.get_buffer(name.replace("bar", "u")).copy_(u)
    z, embedding = torch.randn(1, network.z_dim).double(), torch.randn(1, 128).double()
    theirs = plain_biggan(network.state_dict(), z, embedding, attention_before, eps)
    assert theirs.shape == (1, 3, size, size)
    assert not_flat(theirs)
    assert (theirs - network(z, embedding)).abs().max() < 1e-7


def test_small_norms_are_damped_as_in_the_published_code():
    layer = PowerStep(1, 1).module
    layer.weight_u.fill_(1)
    v = 1e-3 / (1e-3 + 1e-4)
    u = 1e-3 * v / (1e-3 * v + 1e-4)
    assert layer.sigma(torch.tensor([[1e-3]])).item() == pytest.approx(u * 1e-3 * v)


LAYER = ("weight_bar", "weight_u", "weight_v")
BIASED = (*LAYER, "bias")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
NORM = [f"bn.{part}" for part in STATISTICS]
NORM += [f"{kind}_embed.module.{part}" for kind in ("gamma", "beta") for part in LAYER]


@pytest.mark.parametrize(
    ("size", "blocks", "z_dim", "millions"), [(128, 5, 120, 70.5), (256, 6, 140, 82.2), (512, 7, 128, 82.4)]
)
def test_biggan_has_the_published_keys_and_size(size, blocks, z_dim, millions):
    with torch.device("meta"):
        network = BigGAN(size)
    keys = {"linear.weight", "attention.gamma"}
    keys |= {f"{name}.module.{part}" for name in ("G_linear", "colorize") for part in BIASED}
    keys |= {f"attention.{name}.module.{part}" for name in ("theta", "phi", "g", "o_conv") for part in LAYER}
    keys |= {f"ScaledCrossReplicaBN.{part}" for part in ("weight", "bias", *STATISTICS)}
    for block, conv in itertools.product(range(blocks), ("conv0", "conv1", "conv_sc")):
        keys |= {f"GBlock.{block}.{conv}.module.{part}" for part in BIASED}
    for block, norm in itertools.product(range(blocks), ("HyperBN", "HyperBN_1")):
        keys |= {f"GBlock.{block}.{norm}.{part}" for part in NORM}
    state = network.state_dict()
    assert set(state) == keys
    assert network.z_dim == z_dim
    assert state["linear.weight"].shape == (128, 1000)
    chunk = z_dim // (blocks + 1)
    assert state["G_linear.module.weight_bar"].shape == (4 * 4 * 16 * 96, chunk)
    assert state["GBlock.0.HyperBN.gamma_embed.module.weight_bar"].shape == (16 * 96, chunk + 128)
    assert state["GBlock.0.conv0.module.weight_v"].shape == (16 * 96,)
    assert state["colorize.module.weight_bar"].shape == (3, 96, 3, 3)
    # there the singular vectors are parameters, too
    count = sum(v.numel() for k, v in state.items() if "running" not in k and "tracked" not in k)
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(("size", "keys", "millions"), [(128, 506, 50.4), (256, 602, 55.9), (512, 698, 56.2)])
def test_deep_has_the_published_number_of_keys_and_size(size, keys, millions):
    with torch.device("meta"):
        network = BigGANDeep(size)
    state = network.state_dict()
    assert len(state) == keys
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert state["embeddings.weight"].shape == (128, 1000)
    assert state["generator.gen_z.weight_orig"].shape == (4 * 4 * 16 * 128, 256)
    assert state["generator.layers.0.bn_0.running_means"].shape == (51, 16 * 128)
    assert "generator.layers.8.snconv1x1_theta.weight_orig" in state
    assert state["generator.conv_to_rgb.weight_orig"].shape == (128, 128, 3, 3)


def test_deep_keys_and_shapes_are_those_of_the_reference_package():
    with torch.device("meta"):
        theirs, ours = HuggingFaceBigGAN(BigGANConfig()).state_dict(), BigGANDeep(128).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
