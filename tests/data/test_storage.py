"""Images in a temporary file or a large array behave as those in memory."""

import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections import namedtuple
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import invkit
from invkit.data import ImageSet, StoredImages, as_concept, as_image_set, augmented, concatenate_images
from invkit.data import loading as loading_module
from invkit.data import storage as storage_module
from invkit.errors import ArtefactError, DataError
from invkit.settings import Settings
from invkit.utils import resources as room
from invkit.utils.io import content_hash

N, SIZE = 60, 28


@pytest.fixture
def little(tmp_path, monkeypatch):
    """Memory for ten of the images."""
    monkeypatch.setattr(storage_module, "memory_budget", lambda: 2 * 10 * 3 * SIZE**2)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def pixels(n=N):
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), dtype=torch.uint8)


def test_images_that_fit_memory_stay_in_memory(little):
    some = pixels(10)
    assert torch.equal(concatenate_images(some.split(3)), some)
    assert concatenate_images([]).shape == (0, 3, 1, 1)


@pytest.mark.parametrize("total", [0, N])
def test_larger_sets_go_to_a_file_and_are_read_by_rows(little, total):
    some = pixels()
    found = concatenate_images(some.split(7), total)
    assert isinstance(found, StoredImages)
    assert found.shape == some.shape
    assert found.dtype == torch.uint8
    assert torch.equal(found[:], some)
    rows = torch.randint(0, N, (33,))
    assert torch.equal(found[rows], some[rows])
    assert torch.equal(found.select(rows).select(slice(5, 9))[torch.tensor([2, 0])], some[rows[[7, 5]]])
    assert not list(little.iterdir())  # the file has no name, so that nothing is left whatever happens


def test_writing_to_images_that_were_read_does_not_change_the_file(little):
    some = pixels()
    found = concatenate_images(some.split(7))
    found[:].zero_()
    assert torch.equal(found[:], some)


def test_a_file_larger_than_memory_and_swap_can_be_mapped():
    rows = 2 * (psutil.virtual_memory().total + psutil.swap_memory().total) // (3 * SIZE**2)
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        try:
            file.truncate(rows * 3 * SIZE**2)  # it has no content, and takes no room
        except OSError:
            pytest.skip("no sparse files here")
        warnings.simplefilter("error")
        mapped = storage_module._mapped(file, np.uint8, (rows, 3, SIZE, SIZE))
    assert StoredImages(mapped, torch.arange(7))[torch.tensor([5])].sum() == 0


@pytest.mark.parametrize("other", [torch.rand(2, 3, SIZE, SIZE), torch.zeros(2, 3, 30, 30, dtype=torch.uint8)])
@pytest.mark.parametrize("n", [4, N])
def test_images_of_several_sizes_or_types_are_refused(little, n, other):
    with pytest.raises(DataError, match=r"several sizes or types.*Expected: 3×28×28 uint8.*Got: 3×"):
        concatenate_images([pixels(n), other])


def test_a_set_in_a_file_equals_the_set_in_memory(little):
    some, labels = pixels(), {"kind": as_concept("kind", torch.arange(N) % 3)}
    held, filed = ImageSet(some, labels), ImageSet(concatenate_images(some.split(7)), labels)
    assert isinstance(filed.pixels, StoredImages)
    assert held.fingerprint() == filed.fingerprint()
    assert held.fingerprint(with_concepts=False) == content_hash(some, {})
    assert held.fingerprint() != ImageSet(255 - some, labels).fingerprint()
    assert torch.equal(held.images(), filed.images())
    for one, two in zip(held.split(0.2, 3), filed.split(0.2, 3), strict=True):
        assert isinstance(two.pixels, StoredImages)
        assert one.fingerprint() == two.fingerprint()
    assert held.resized(20).fingerprint() == filed.resized(20).fingerprint()
    assert augmented(held, 2, 0).fingerprint() == augmented(filed, 2, 0).fingerprint()
    assert isinstance(augmented(filed, 2, 0).pixels, StoredImages)


def test_loaders_and_wide_arrays_go_into_files_too(little):
    images = pixels() / 255
    loaded = as_image_set(DataLoader(TensorDataset(images, torch.arange(N) % 3), batch_size=7))
    assert isinstance(loaded.pixels, StoredImages)
    assert torch.equal(loaded.images(), images)
    wide = as_image_set(torch.rand(N, 3, SIZE, 2 * SIZE))
    assert isinstance(wide.pixels, StoredImages)
    assert wide.size == SIZE


def arrays():
    """Images of both types, in both orders, and grey ones."""
    some = torch.rand(N, 3, SIZE, SIZE)
    some[3, 0, 0, 0] = 1 + 1e-5  # rounding
    for kind in (some, (some.clamp(0, 1) * 255).byte(), some.double()):
        yield from (kind, kind.movedim(1, -1).contiguous().numpy(), kind[:, :1], kind[:, 0].numpy())


@pytest.mark.parametrize("which", range(12))
def test_a_large_array_is_read_without_a_copy(little, which, monkeypatch):
    array = list(arrays())[which]
    large = as_image_set(array, size=SIZE)
    assert isinstance(large.pixels, StoredImages)
    assert large.pixels.source.data_ptr() == torch.as_tensor(array).data_ptr()
    monkeypatch.undo()
    small = as_image_set(array, size=SIZE)
    assert isinstance(small.pixels, torch.Tensor)
    assert large.fingerprint() == small.fingerprint()
    assert torch.equal(large.images(slice(2, 5)), small.images(slice(2, 5)))
    assert large.resized(20).fingerprint() == small.resized(20).fingerprint()


def test_a_bad_image_of_a_large_array_is_found(little, monkeypatch):
    monkeypatch.setattr(loading_module, "_BATCH", 7)
    array = torch.rand(N, SIZE, SIZE, 3)
    array[33, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="index 33"):
        as_image_set(array)


MAPPED = """
import re, sys
from pathlib import Path
import numpy as np
from invkit.data import as_image_set, storage

def own():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

array = np.lib.format.open_memmap(sys.argv[1], "w+", np.float32, (5000, 64, 64, 3))
array[::100] = 0.5
del array
as_image_set(np.zeros((2, 3, 64, 64), np.float32))  # what the first call imports is not the images' memory
storage.memory_budget = lambda: 2**20
before = own()
images = as_image_set(np.load(sys.argv[1], mmap_mode="r"))
train, test = images.split(0.1, 0)
print(own() - before, images.pixels.source.nbytes / 2**20, float(images.images(slice(1)).mean()))
"""


def test_a_mapped_array_is_not_loaded(tmp_path):
    code = [sys.executable, "-c", MAPPED, str(tmp_path / "x.npy")]
    returned = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576"}  # freed buffers go back to the system at once
    done = subprocess.run(code, capture_output=True, text=True, check=True, env=returned)
    grown, size, mean = (float(word) for word in done.stdout.split())
    assert size > 230
    assert grown < 60
    assert mean == 0.5
    assert not done.stderr


def test_too_little_disk_space_raises_at_the_first_image(little, monkeypatch):
    monkeypatch.setattr(storage_module, "check_disk_space", lambda size, *_: room.check_disk_space(size + 2**60, *_))
    seen = []

    def parts():
        for part in pixels().split(7):
            seen.append(part)
            yield part

    with pytest.raises(ArtefactError, match=r"Too little disk space for the images.*TMPDIR"):
        concatenate_images(parts(), N)
    assert len(seen) == 1


def test_processes_of_one_machine_need_disk_space_for_a_file_each(little, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("usage", "free")(2 * N * 3 * SIZE**2))
    for here in (1, 2):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
        assert isinstance(concatenate_images(pixels().split(7), N), StoredImages)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ArtefactError, match=r"Too little disk space for the images"):
        concatenate_images(pixels().split(7), N)


def test_a_disk_that_fills_up_raises(little):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30 * 3 * SIZE**2, before[1]))
    try:
        with pytest.raises(
            ArtefactError, match=r"Cannot write the images to a temporary file.*Expected: free space in .*TMPDIR"
        ):
            concatenate_images(pixels().split(7))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_explanation_of_images_in_a_file_has_the_same_metrics(little, network, digits):
    settings = replace(Settings.tiny(), held_out_fraction=0.2)
    some = digits.take(torch.arange(120))
    filed = replace(some, pixels=concatenate_images(some.uint8_batches()))
    assert isinstance(filed.pixels, StoredImages)
    one, two = (
        invkit.explain(network, "3", data, settings=settings, preprocess=invkit.Preprocess()) for data in (some, filed)
    )
    assert one.metrics == two.metrics
    assert isinstance(two.held_out.data.pixels, torch.Tensor)  # or the file would stay as long as the explanation
    assert torch.equal(one.held_out.data.pixels, two.held_out.data.pixels)


READER = """
import re
from pathlib import Path
import torch
from invkit.data import as_image_set, storage

class Drawn(torch.utils.data.Dataset):
    def __len__(self):
        return 20_000

    def __getitem__(self, number):
        return torch.full((3, 64, 64), number % 251, dtype=torch.uint8)

def own():  # what no other process and no file shares
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

storage.memory_budget = lambda: 2**20
before = own()
images = as_image_set(Drawn())
train, test = images.split(0.1, 0)
print(own() - before, images.pixels.source.nbytes / 2**20, float(train.images(slice(7)).mean()))
"""


def test_memory_does_not_grow_with_the_number_of_images():
    done = subprocess.run([sys.executable, "-c", READER], capture_output=True, text=True, check=True)
    grown, size, mean = (float(word) for word in done.stdout.split())
    assert size > 230
    assert grown < 60
    assert 0 < mean < 1
