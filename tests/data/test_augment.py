"""Copies of photographs: what is kept, what changes, who belongs together."""

import pytest
import torch

import invkit
from invkit.autoencoders import ConvAutoencoder
from invkit.data import Generated, as_image_set, augmented, decode_all
from invkit.errors import DataError
from invkit.settings import Settings


def test_copies_are_one_group_and_keep_their_labels():
    data = as_image_set(torch.rand(5, 3, 40, 40), concepts={"kind": [0.0, 1.0, 2.0, 3.0, 4.0]})
    more = augmented(data, 3, seed=0)
    assert len(more) == 15
    assert torch.equal(more.groups.unflatten(0, (3, 5)), torch.arange(5).expand(3, 5))
    assert torch.equal(more.concepts["kind"].values.unflatten(0, (3, 5)), data.concepts["kind"].values.expand(3, 5, -1))
    assert (more.images(slice(5)) - data.images()).abs().max() <= 0.5 / 255
    assert all((more.images(slice(5 * k, 5 * k + 5)) - data.images()).abs().mean() > 0.05 for k in (1, 2))
    assert torch.equal(augmented(data, 3, seed=0).pixels, more.pixels)
    assert not torch.equal(augmented(data, 3, seed=1).pixels, more.pixels)
    assert augmented(data, 1, seed=0) is data


def test_images_of_a_decoder_are_not_copied():
    made = invkit.ImageSet(Generated(ConvAutoencoder(28, 4, width=4), torch.randn(6, 4)))
    with pytest.raises(DataError, match="copies=1"):
        augmented(made, 2, seed=0)
    assert (
        Settings.for_images(invkit.ImageSet(Generated(ConvAutoencoder(40, 4, width=4), torch.randn(6, 4)))).copies == 1
    )


@pytest.mark.parametrize(
    ("size", "count", "copies"), [(28, 100, 1), (64, 100, 24), (64, 2000, 9), (64, 5999, 3), (64, 6000, 1)]
)
def test_few_photographs_get_copies_and_digits_none(size, count, copies):
    found = Settings.for_images(invkit.ImageSet(torch.zeros(count, 3, 1, 1).expand(-1, -1, size, size)))
    assert found.copies == copies
    assert (found == Settings()) == (size == 28 or count == 6000)


@torch.no_grad()
def test_many_codes_are_decoded_in_parts():
    autoencoder = ConvAutoencoder(28, 4, width=4).eval()
    codes = torch.randn(300, 4)
    whole, parts = autoencoder.decode(codes), decode_all(autoencoder, codes)
    assert torch.allclose(whole, parts, atol=1e-5)
