"""Images in a file are those in memory, whatever is done with them."""

import resource
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import invkit
from invkit.data import ImageSet, Stored, as_concept, as_image_set, augmented, gathered, room
from invkit.data import stored as stored_module
from invkit.errors import ArtefactError
from invkit.serialize import fingerprint
from invkit.settings import Settings

N, SIZE = 60, 28


@pytest.fixture
def little(tmp_path, monkeypatch):
    """Memory for ten of the images."""
    monkeypatch.setattr(stored_module, "memory_to_keep", lambda: 2 * 10 * 3 * SIZE**2)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def pixels(n=N):
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8)


def test_what_memory_has_room_for_stays_there(little):
    some = pixels(10)
    assert torch.equal(gathered(some.split(3)), some)
    assert gathered([]).shape == (0, 3, 1, 1)


@pytest.mark.parametrize("total", [0, N])
def test_more_goes_into_a_file_and_can_be_read_by_rows(little, total):
    some = pixels()
    found = gathered(some.split(7), total)
    assert isinstance(found, Stored)
    assert found.shape == some.shape
    assert found.dtype == torch.uint8
    assert torch.equal(found.read(), some)
    rows = torch.randint(0, N, (33,))
    assert torch.equal(found[rows].read(), some[rows])
    assert torch.equal(found[rows][5:9][torch.tensor([2, 0])].read(), some[rows[[7, 5]]])
    assert not list(little.iterdir())  # the file has no name, so that nothing is left whatever happens


def test_nothing_that_is_written_to_what_was_read_comes_back(little):
    some = pixels()
    found = gathered(some.split(7))
    found.read().zero_()
    assert torch.equal(found.read(), some)


def test_a_set_in_a_file_is_the_set_in_memory(little):
    some, labels = pixels(), {"kind": as_concept("kind", torch.arange(N) % 3)}
    held, filed = ImageSet(some, labels), ImageSet(gathered(some.split(7)), labels)
    assert isinstance(filed.pixels, Stored)
    assert held.fingerprint() == filed.fingerprint()
    assert held.fingerprint(with_concepts=False) == fingerprint(some, {})
    assert held.fingerprint() != ImageSet(255 - some, labels).fingerprint()
    assert torch.equal(held.images(), filed.images())
    for one, two in zip(held.split(0.2, 3), filed.split(0.2, 3), strict=True):
        assert isinstance(two.pixels, Stored)
        assert one.fingerprint() == two.fingerprint()
    assert held.resized(20).fingerprint() == filed.resized(20).fingerprint()
    assert augmented(held, 2, 0).fingerprint() == augmented(filed, 2, 0).fingerprint()
    assert isinstance(augmented(filed, 2, 0).pixels, Stored)


def test_loaders_and_wide_arrays_go_into_files_too(little):
    images = torch.rand(N, 3, SIZE, SIZE)
    loaded = as_image_set(DataLoader(TensorDataset(images, torch.arange(N) % 3), batch_size=7), progress=False)
    assert isinstance(loaded.pixels, Stored)
    assert torch.equal(loaded.images(), images)
    wide = as_image_set(torch.rand(N, 3, SIZE, 2 * SIZE), progress=False)
    assert isinstance(wide.pixels, Stored)
    assert wide.size == SIZE


def test_a_disk_without_room_is_told_at_the_first_image(little, monkeypatch):
    monkeypatch.setattr(stored_module, "check_room", lambda size, *_: room.check_room(size + 2**60, *_))
    seen = []

    def parts():
        for part in pixels().split(7):
            seen.append(part)
            yield part

    with pytest.raises(ArtefactError, match=r"Too little room for the images.*TMPDIR"):
        gathered(parts(), N)
    assert len(seen) == 1


def test_a_disk_that_fills_is_told(little):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30 * 3 * SIZE**2, before[1]))
    try:
        with pytest.raises(ArtefactError, match=r"Cannot keep the images.*Expected: room in .*TMPDIR"):
            gathered(pixels().split(7))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_explanation_of_images_in_a_file_has_the_same_figures(little, network, digits):
    settings = replace(Settings.tiny(), held_out=0.2)
    some = digits.take(torch.arange(120))
    filed = replace(some, pixels=gathered(some.bytes()))
    assert isinstance(filed.pixels, Stored)
    one, two = (
        invkit.explain(network, "3", data, settings=settings, preprocess=invkit.Preprocess(), progress=False)
        for data in (some, filed)
    )
    assert one.figures == two.figures


READER = """
import re
from pathlib import Path
import torch
from invkit.data import as_image_set, stored

class Drawn(torch.utils.data.Dataset):
    def __len__(self):
        return 20_000

    def __getitem__(self, number):
        return torch.full((3, 64, 64), number % 251, dtype=torch.uint8)

def own():  # what no other process and no file shares
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

stored.memory_to_keep = lambda: 2**20
before = own()
images = as_image_set(Drawn(), progress=False)
train, test = images.split(0.1, 0)
print(own() - before, images.pixels.file.nbytes / 2**20, float(train.images(slice(7)).mean()))
"""


def test_memory_stays_small_however_many_images_there_are():
    done = subprocess.run([sys.executable, "-c", READER], capture_output=True, text=True, check=True)
    grown, size, mean = (float(word) for word in done.stdout.split())
    assert size > 230
    assert grown < 60
    assert 0 < mean < 1
