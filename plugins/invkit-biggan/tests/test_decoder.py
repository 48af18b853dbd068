"""The decoder: codes, images, seeds, published files, and what it refuses."""

import copy
import itertools

import invkit_biggan
import pluggy
import pytest
import torch
from invkit_biggan import list_autoencoders, load_autoencoder
from invkit_biggan.decoder import BigGANDecoder
from invkit_biggan.dequantize import EmbeddingVAE
from invkit_biggan.sampling import truncated_normal
from invkit_biggan.weights import calibrate
from scipy.stats import kstest, truncnorm

import invkit
from invkit.core import Autoencoder
from invkit.errors import ArtefactError, DataError, InvkitError, SettingsError
from invkit.plugins import hookspecs
from invkit.settings import Settings
from invkit.testing import check_autoencoder

SMALL = {"width": 8, "classes": 10}
ROUNDING = {"rtol": 0, "atol": 0.1 / 255}  # the same images in batches of other sizes: a tenth of a grey level
FILES = {"biggan-128": "biggan-128.pth", "biggan-deep-128": "biggan-deep-128-pytorch_model.bin"}


@pytest.fixture(scope="module", params=["biggan-128", "biggan-deep-128"])
def decoder(request):
    torch.manual_seed(0)
    made = BigGANDecoder(request.param, **SMALL)
    calibrate(made)
    return made.eval()


def test_it_conforms_but_for_the_encoder(decoder):
    check_autoencoder(decoder)


@torch.no_grad()
def test_training_mode_changes_nothing(decoder):
    latents = torch.randn(2, *decoder.latent_shape)
    before = {k: v.clone() for k, v in decoder.state_dict().items()}
    assert torch.equal(decoder.train().decode(latents), decoder.eval().decode(latents))
    assert all(torch.equal(before[k], v) for k, v in decoder.state_dict().items())


def test_the_hooks_are_those_that_invkit_knows():
    manager = pluggy.PluginManager("invkit")
    manager.add_hookspecs(hookspecs)
    manager.register(invkit_biggan)
    manager.check_pending()
    assert invkit_biggan.INVKIT_API == hookspecs.API_VERSION
    assert manager.hook.list_autoencoders() == list_autoencoders()


def test_a_code_at_256_px_has_268_dimensions():
    assert BigGANDecoder("biggan-256", **SMALL).latent_shape == (268,)


def test_a_code_is_noise_and_then_the_embedding_of_its_class(decoder):
    classes = torch.tensor([3, 9, 3])
    latents, images = decoder.sample(3, classes=classes)
    assert torch.equal(latents[:, -128:], decoder.embeddings[classes])
    assert latents.shape == (3, *decoder.latent_shape)
    assert images.shape == (3, 3, 128, 128)


def test_the_images_are_those_of_the_codes(decoder):
    latents, images = decoder.sample(3, 0.5)
    torch.testing.assert_close(decoder.decode(latents, 0.5), images, atol=1e-5, rtol=0)


def test_random_images_use_the_range_and_differ(decoder):
    _, images = decoder.sample(4)
    assert 0 <= images.min() <= images.max() <= 1
    assert (images.std((1, 2, 3)) > 0.03).all()
    assert min((a - b).abs().mean() for a, b in itertools.combinations(images, 2)) > 0.03


@pytest.mark.parametrize("truncation", [0.3, 1.0])
def test_noise_stays_within_its_bound_and_comes_near_it(decoder, truncation):
    latents, _ = decoder.sample(30, truncation)
    largest = latents[:, :-128].abs().max() / truncation
    assert 0.9 * decoder.bound < largest <= decoder.bound


def test_resampling_gives_the_truncated_normal_distribution():
    values = truncated_normal(100, 200, 1.2, torch.Generator().manual_seed(0))
    assert values.abs().max() <= 1.2
    assert kstest(values.flatten().double(), truncnorm(-1.2, 1.2).cdf).pvalue > 0.01


def test_a_seed_decides_the_codes_and_leaves_the_global_state(decoder):
    state = torch.get_rng_state()
    first, again, other = (decoder.sample(2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(state, torch.get_rng_state())


def test_a_stream_goes_on_where_it_stopped(decoder):
    whole = [latents for latents, _ in decoder.stream(2, seed=3, batches=3)]
    rest = [latents for latents, _ in decoder.stream(2, seed=3, batches=2, start=1)]
    assert all(torch.equal(a, b) for a, b in zip(whole[1:], rest, strict=True))
    assert not torch.equal(whole[0], whole[1])


def test_a_dequantizer_spreads_the_embedding_and_nothing_else(decoder):
    vae = EmbeddingVAE(width=8)
    classes = torch.zeros(4, dtype=torch.long)
    plain, _ = decoder.sample(4, classes=classes)
    spread, images = decoder.sample(4, classes=classes, dequantizer=vae)
    assert torch.equal(plain[:, :-128], spread[:, :-128])
    assert (spread[:, -128:].std(0) > 0.01).float().mean() > 0.9
    torch.testing.assert_close(decoder.decode(spread), images, atol=1e-5, rtol=0)


def test_gradients_reach_the_code(decoder):
    latents = decoder.sample(1)[0].requires_grad_()
    decoder.decode(latents).sum().backward()
    assert (latents.grad != 0).any(0).float().mean() > 0.9


def test_only_deep_has_statistics_by_truncation(decoder):
    latents, _ = decoder.sample(1)
    changed = copy.deepcopy(decoder)
    for module in changed.generator.modules():
        if hasattr(module, "running_means"):
            module.running_means[25] += 0.5
    differs = not torch.equal(changed.decode(latents, 0.5), changed.decode(latents, 1.0))
    assert differs == ("deep" in decoder.config["architecture"])


@pytest.mark.parametrize("name", ["biggan-512", "biggan-deep-512"])
@torch.no_grad()
def test_far_codes_give_images_too(name):
    decoder = BigGANDecoder(name, **SMALL)
    images = decoder.decode(100 * torch.randn(1, *decoder.latent_shape))
    assert 0 <= images.min() <= images.max() <= 1


def test_config_builds_the_same_decoder(decoder):
    again = BigGANDecoder(**decoder.config)
    again.load_state_dict(decoder.state_dict())
    latents, images = decoder.sample(1)
    assert torch.equal(again.decode(latents), images)


def test_it_says_that_it_has_no_encoder(decoder):
    assert isinstance(decoder, Autoencoder)
    with pytest.raises(InvkitError, match=r"has no encoder.*decoder\.sample"):
        decoder.encode(torch.rand(1, 3, 128, 128))


@pytest.mark.parametrize("truncation", [0.0, -1.0, 1.1, float("nan")])
def test_a_truncation_out_of_range_is_refused(decoder, truncation):
    with pytest.raises(SettingsError, match="truncation"):
        decoder.sample(1, truncation)


def test_wrong_codes_classes_bounds_and_names_are_refused(decoder):
    with pytest.raises(DataError, match="no codes"):
        decoder.decode(torch.zeros(1, 7))
    with pytest.raises(DataError, match="no classes"):
        decoder.sample(2, classes=torch.tensor([0, 10]))
    with pytest.raises(SettingsError, match="too small"):
        truncated_normal(1, 1, 0.0, torch.Generator())
    with pytest.raises(SettingsError, match="No such BigGAN"):
        BigGANDecoder("biggan-64")


@pytest.mark.parametrize("folder", [True, False])
def test_a_published_file_is_read_with_its_width_and_classes(decoder, tmp_path, folder):
    name = decoder.config["architecture"]
    torch.save(decoder.generator.state_dict(), tmp_path / FILES[name])
    loaded = load_autoencoder(name, str(tmp_path if folder else tmp_path / FILES[name]), True)
    latents, images = decoder.sample(1)
    assert torch.equal(loaded.decode(latents), images)
    assert loaded.config == decoder.config
    assert not loaded.training


def test_a_hugging_face_folder_and_a_file_without_batch_counters_are_read(decoder, tmp_path):
    state = {k: v for k, v in decoder.generator.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "pytorch_model.bin")
    loaded = load_autoencoder(decoder.config["architecture"], str(tmp_path), True)
    latents, images = decoder.sample(1)
    assert torch.equal(loaded.decode(latents), images)


def test_without_weights_it_says_which_file_to_get():
    for name in list_autoencoders():
        file = f"{name}-pytorch_model.bin" if "deep" in name else f"{name}.pth"
        with pytest.raises(ArtefactError, match=rf"the file {file}.*`weights`"):
            load_autoencoder(name, None, True)


def test_a_file_of_another_architecture_is_refused(decoder, tmp_path):
    torch.save(decoder.generator.state_dict(), tmp_path / "model.pth")
    other = "biggan-256" if "deep" in decoder.config["architecture"] else "biggan-deep-256"
    with pytest.raises(ArtefactError, match="not those of"):
        load_autoencoder(other, str(tmp_path / "model.pth"), True)
    with pytest.raises(ArtefactError, match="do not fit"):
        load_autoencoder(decoder.config["architecture"].replace("128", "512"), str(tmp_path / "model.pth"), True)


def test_an_unknown_name_is_left_to_others():
    assert load_autoencoder("stylegan", None, True) is None


def test_random_weights_of_full_width_make_images():
    decoder = load_autoencoder("biggan-deep-128", "random", True)
    assert decoder.config["width"] == 128
    assert decoder.sample(1)[1].std() > 0.03


def test_a_network_is_explained_on_images_that_the_generator_makes(decoder, tmp_path):
    vae = EmbeddingVAE(width=16)
    vae.fit_scale(decoder.embeddings)
    images = decoder.image_set(90, classes=[1, 4, 7], dequantizer=vae)
    assert images.concepts["class"].names == ("1", "4", "7")
    torch.testing.assert_close(
        images.images(slice(3, 5)), decoder.decode(images.pixels.latents[3:5]).detach(), **ROUNDING
    )
    network = torch.nn.Sequential(torch.nn.AvgPool2d(32), torch.nn.Flatten())
    explanation = invkit.explain(network, "1", images, settings=Settings.tiny(), preprocess=invkit.Preprocess())
    assert "psnr" not in explanation.metrics
    z = explanation.held_out.z
    torch.testing.assert_close(explanation.represent(explanation.held_out.data.images()), z, **ROUNDING)
    assert explanation.sample_from(z[:2], 3).shape == (2, 3, 3, 128, 128)
    assert set(explanation.concepts()) == {"class", "residual"}
    explanation.to_html(explanation.save(tmp_path / "saved") / "page.html")
    again = invkit.Explanation.load(tmp_path / "saved", autoencoder=decoder)
    torch.testing.assert_close(again.sample_from(z[:2], 3), explanation.sample_from(z[:2], 3))
    made = again.held_out.data.pixels  # as codes: no encoder could find them
    assert torch.equal(made.latents, explanation.held_out.data.pixels.latents)
    again.fidelity(n=20)
    with pytest.raises(InvkitError, match="no encoder"):
        explanation.modify(images.images(slice(2)), **{"class": images.images(slice(2))})


def test_an_image_set_is_the_same_for_the_same_seed_and_has_one_size(decoder):
    vae = EmbeddingVAE(width=16)
    first, again, other = (decoder.image_set(5, seed=k, dequantizer=vae) for k in (0, 0, 1))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    torch.testing.assert_close(first.take(torch.tensor([2])).images(), first.images()[2:3], **ROUNDING)
    with pytest.raises(DataError, match="Generated images cannot be resized"):
        first.resized(64)
    with pytest.raises(DataError, match="no classes"):
        decoder.image_set(5, classes=[3, 10], dequantizer=vae)
