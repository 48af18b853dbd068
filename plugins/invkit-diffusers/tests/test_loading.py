"""Weights from folders and the hub's cache, random ones, and every error of what cannot be loaded."""

import json
import os
import subprocess
import sys

import diffusers
import pytest
import torch
from invkit_diffusers import list_autoencoders, load_autoencoder
from invkit_diffusers.autoencoder import DiffusersAutoencoder
from invkit_diffusers.loading import load
from invkit_diffusers.published import PUBLISHED
from safetensors.torch import load_file, save_file

import invkit
from invkit.errors import ArtefactError, SettingsError

FAMILIES = dict.fromkeys(PUBLISHED)
CLASSES = [(family, published.class_name) for family, published in PUBLISHED.items()]


def same(loaded, network):
    """Whether it decodes and encodes as a network does."""
    x = torch.rand(2, 3, loaded.image_size, loaded.image_size)
    expected = DiffusersAutoencoder(network, loaded.image_size)
    assert not loaded.training
    assert loaded.config == expected.config
    with torch.no_grad():
        code = loaded.encode(x)
        assert torch.equal(code.mean, expected.encode(x).mean)
        assert torch.equal(loaded.decode(code.mean), expected.decode(code.mean))


@pytest.mark.parametrize(("family", "class_name"), CLASSES)
@pytest.mark.parametrize("safe", [True, False])
def test_a_saved_folder_is_loaded_by_name(family, class_name, safe, build, tmp_path):
    network = build(class_name)
    network.save_pretrained(tmp_path, safe_serialization=safe)
    same(invkit.load_autoencoder(f"diffusers:{family}-64", weights=tmp_path), network)


@pytest.mark.parametrize(
    ("family", "class_name", "folder"),
    [("autoencoder-kl", "AutoencoderKL", "vae"), ("autoencoder-tiny", "AutoencoderTiny", "vae")]
    + [("vq-model", "VQModel", folder) for folder in ("vqvae", "movq")],
)
def test_a_pipelines_folder_is_loaded(family, class_name, folder, build, tmp_path):
    network = build(class_name)
    network.save_pretrained(tmp_path / folder)
    (tmp_path / "model_index.json").write_text("{}")
    same(load_autoencoder(f"{family}-16", str(tmp_path), True), network)


def test_half_precision_is_read_into_float32(build, tmp_path):
    network = build("AutoencoderTiny")
    network.half().save_pretrained(tmp_path, variant="fp16")
    same(load_autoencoder("autoencoder-tiny-16", str(tmp_path), True), network.float())


def test_old_names_of_attention_are_read_as_diffusers_reads_them(build, tmp_path):
    build("AutoencoderKL").save_pretrained(tmp_path)
    file, state = tmp_path / "diffusion_pytorch_model.safetensors", {}
    for name, tensor in load_file(file).items():
        for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
            name = name.replace(f".{new}.", f".{old}.")
        state[name] = tensor
    save_file(state, file)
    assert "encoder.mid_block.attentions.0.query.weight" in state
    same(
        load_autoencoder("autoencoder-kl-16", str(tmp_path), True),
        diffusers.AutoencoderKL.from_pretrained(tmp_path, low_cpu_mem_usage=False),
    )


@pytest.mark.parametrize(("family", "class_name"), CLASSES)
def test_default_weights_come_from_the_hubs_cache(family, class_name, build, hub):
    network, published = build(class_name), PUBLISHED[family]
    network.save_pretrained(hub(published.repository) / published.folder)
    same(load_autoencoder(f"{family}-16", None, True), network)


@pytest.mark.parametrize(("revision", "folder", "safe"), [("main", "", True), ("v2", "", True), ("main", "vae", False)])
def test_anybodys_weights_come_from_the_hubs_cache(revision, folder, safe, build, hub):
    network = build("AutoencoderKL")
    network.save_pretrained(hub("someone/somenet", revision) / folder, safe_serialization=safe)
    at = "" if revision == "main" else f"@{revision}"
    same(load_autoencoder("autoencoder-kl-16", f"hf-hub:someone/somenet{at}", True), network)


def test_the_networks_are_as_large_as_the_published_files():
    megabytes = {"autoencoder-kl": 335, "autoencoder-tiny": 9.8, "vq-model": 221}  # as the hub shows them
    for family, published in PUBLISHED.items():
        with torch.device("meta"):
            autoencoder = DiffusersAutoencoder({"_class_name": published.class_name, **published.config}, 64)
        count = sum(parameter.numel() for parameter in autoencoder.parameters())
        print(f"{family}: {count:,} parameters, codes {autoencoder.latent_shape}")
        assert 4 * count / 1e6 == pytest.approx(megabytes[family], rel=0.005)


@pytest.fixture
def small(monkeypatch):
    """The published networks with an eighth of their channels."""

    def narrowed(name, value):
        return tuple(v // 8 for v in value) if "out_channels" in name else value

    for published in PUBLISHED.values():
        config = {name: narrowed(name, value) for name, value in published.config.items()}
        config |= {"norm_num_groups": 4} if "norm_num_groups" in config else {}
        monkeypatch.setitem(published.__dict__, "config", config)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_follow_torchs_seed_and_make_images(family):
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        autoencoder = load(family, 64, "random")
        code = torch.randn(1, *autoencoder.latent_shape, generator=torch.Generator().manual_seed(0))
        made.append(autoencoder.decode(code).detach())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert made[0].std() > 0.01


@pytest.mark.usefixtures("small")
def test_a_random_codebook_is_where_the_codes_are():
    autoencoder = load("vq-model", 64, "random")
    codes = autoencoder.encode(torch.rand(4, 3, 64, 64)).mean
    assert autoencoder.network.quantize(codes)[2][2].unique().numel() > 100


def test_every_name_is_loaded_and_others_are_left_to_others():
    assert list_autoencoders() == [f"{family}-{size}" for family in PUBLISHED for size in (64, 128, 256)]
    for name in ("autoencoder-kl", "autoencoder-kl-", "autoencoder-kl-x", "autoencoder-kl-²", "kl-64", "conv-64"):
        assert load_autoencoder(name, "random", True) is None


def test_sides_that_cannot_be_halved_are_refused_before_any_weights_are_read(build, tmp_path):
    build("AutoencoderKL").save_config(tmp_path)
    with pytest.raises(SettingsError, match=r"multiple of 2, for instance 32 or 34.*33 px"):
        load_autoencoder("autoencoder-kl-33", str(tmp_path), True)


@pytest.mark.parametrize("content", [None, "file", "empty", "other"])
def test_a_folder_without_a_config_is_refused(content, tmp_path):
    folder = tmp_path / "folder"
    if content == "file":
        folder.write_text("")
    elif content is not None:
        folder.mkdir()
    if content == "other":
        (folder / "model.onnx").touch()
    told = {None: "no such folder", "file": "a file", "empty": "an empty folder", "other": "model.onnx"}[content]
    with pytest.raises(ArtefactError, match=rf"No network in .*vqvae/config.json.*Got: {told}.*hf-hub:owner/name"):
        load_autoencoder("vq-model-64", str(folder), True)


def test_a_config_of_another_class_is_refused(build, tmp_path):
    build("AutoencoderTiny").save_pretrained(tmp_path)
    with pytest.raises(ArtefactError, match=r"another class.*AutoencoderKL.*Got: AutoencoderTiny.*autoencoder-tiny-\*"):
        load_autoencoder("autoencoder-kl-64", str(tmp_path), True)


@pytest.mark.parametrize("text", ["{}", "[]", '"AutoencoderKL"'])
def test_a_config_that_names_no_class_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ArtefactError, match="another class"):
        load_autoencoder("autoencoder-kl-64", str(tmp_path), True)


def test_a_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": ')
    with pytest.raises(ArtefactError, match="a damaged or truncated one"):
        load_autoencoder("autoencoder-kl-64", str(tmp_path), True)


def test_a_config_that_cannot_be_built_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", "block_out_channels": [7]}))
    with pytest.raises(ArtefactError, match=r"cannot build the AutoencoderKL.*divisible"):
        load_autoencoder("autoencoder-kl-64", str(tmp_path), True)


def test_a_folder_without_weights_is_refused(build, tmp_path):
    build("AutoencoderTiny").save_config(tmp_path)
    with pytest.raises(ArtefactError, match=r"No weights in .*diffusion_pytorch_model.safetensors.*Got: config.json"):
        load_autoencoder("autoencoder-tiny-64", str(tmp_path), True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("decoder.conv_in.bias"), "Missing key"),
        (lambda state: state.update(more=torch.zeros(1)), "Unexpected key"),
        (lambda state: state.update({"decoder.conv_in.bias": torch.zeros(1)}), "size mismatch"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, told, build, tmp_path):
    build("AutoencoderKL").save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)
    with pytest.raises(ArtefactError, match=rf"do not fit AutoencoderKL.*{told}"):
        load_autoencoder("autoencoder-kl-64", str(tmp_path), True)


def test_damaged_weights_are_refused(build, tmp_path):
    build("AutoencoderKL").save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ArtefactError, match="a damaged or truncated one"):
        load_autoencoder("autoencoder-kl-64", str(tmp_path), True)


@pytest.mark.parametrize("weights", [None, "hf-hub:someone/somenet", "hf-hub:someone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_not_in_the_cache_says_where_it_is_expected(family, weights, hub, tmp_path):
    with pytest.raises(ArtefactError, match=r"Cannot get .*config.json.*weights='random'") as error:
        load_autoencoder(f"{family}-64", weights, True)
    assert str(tmp_path / "hub") in str(error.value)


def test_offline_it_says_so_and_asks_no_network(tmp_path):
    code = (
        "import socket\n"
        "import invkit_diffusers.loading\n"
        "from invkit.errors import ArtefactError\n"
        "asked = []\n"
        "socket.socket.connect = socket.getaddrinfo = lambda *a, **_: asked.append(a)\n"
        "for family in ('autoencoder-kl', 'autoencoder-tiny', 'vq-model'):\n"
        "    try:\n"
        "        invkit_diffusers.load_autoencoder(f'{family}-64', None, False)\n"
        "    except ArtefactError as error:\n"
        "        print(error.expected)\n"
        "print(len(asked))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HF_HUB_OFFLINE": "1"}
    environment["HF_HUB_CACHE"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    *expected, asked = done.stdout.splitlines()
    for line, published in zip(expected, PUBLISHED.values(), strict=True):
        assert str(tmp_path / f"models--{published.repository.replace('/', '--')}") in line
    assert asked == "0"


def test_the_plugins_module_imports_neither_torch_nor_diffusers():
    code = "import sys, invkit_diffusers; print({'torch', 'diffusers'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
