"""Two processes under torchrun: as one, but each does half of the work."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

import invkit
from invkit.core import Autoencoder, Posterior
from invkit.data import color_digits
from invkit.explanation.fidelity import IMAGES, TIMES_SENT
from invkit.settings import Settings
from invkit.training import FitSettings, Task, fit
from invkit.utils.cache import damaged_files, entries

SETTINGS = FitSettings(steps=40, batch_size=16, learning_rate=1e-2, evaluate_every=10)


class Line(Task):
    """Fit y = 2x, without noise, from a start that differs between processes."""

    def __init__(self, start=0):
        torch.manual_seed(start)
        self.title, self.rows = "line", 100
        self.module = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        self.x = torch.randn(100, 1, generator=torch.Generator().manual_seed(1))

    def loss(self, module, rows, generator):
        return (module(self.x[rows]) - 2 * self.x[rows]).square().mean()

    def validation_loss(self, module):
        return float((module(self.x) - 2 * self.x).square().mean())


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))


def launch(tmp_path, code, processes=2):
    """Run code in so many processes; it finds `out`, a folder of its own, and `rank`."""
    script = tmp_path / "script.py"
    head = (
        "import sys, torch\nfrom pathlib import Path\nfrom invkit.utils import distributed\nrank = distributed.rank()\n"
    )
    script.write_text(
        f"{head}out = Path({str(tmp_path)!r})\nsys.path.insert(0, {str(os.path.dirname(__file__))!r})\n{code}"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
                          timeout=500)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_two_processes_train_as_one_does(tmp_path):
    launch(
        tmp_path,
        "from test_distributed import Line, SETTINGS, fit\n"
        "task = Line(start=rank)\n"
        "result = fit(task, SETTINGS)\n"
        "torch.save((result.history, task.module.state_dict()), out / f'{rank}.pt')\n",
    )
    alone = Line()
    result = fit(alone, SETTINGS)
    ours, theirs = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert ours[0] == theirs[0]
    for name, value in alone.module.state_dict().items():
        torch.testing.assert_close(ours[1][name], value, atol=1e-5, rtol=0)
        assert torch.equal(ours[1][name], theirs[1][name])
    assert [round(h, 4) for *_, h in ours[0]] == [round(h, 4) for *_, h in result.history]


def test_all_processes_stop_where_one_is_interrupted_between_steps(tmp_path):
    launch(
        tmp_path,
        "import os, signal\n"
        "from test_distributed import Line, SETTINGS, fit\n"
        "task = Line()\n"
        "def interrupt(step, module):  # in the main process alone\n"
        "    if step == 20:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "result = fit(task, SETTINGS, on_evaluate=interrupt)\n"
        "torch.save((result.steps, result.stopped, task.module.state_dict()), out / f'{rank}.pt')\n",
    )
    ours, theirs = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert ours[:2] == theirs[:2] == (20, "interrupted")
    assert all(torch.equal(value, theirs[2][name]) for name, value in ours[2].items())


@pytest.mark.filterwarnings("ignore:Unknown preprocessing")
@pytest.mark.long
def test_two_processes_explain_as_one_does_and_each_sees_half_of_the_images(tmp_path):
    launch(
        tmp_path,
        "import json, warnings\n"
        "import invkit\n"
        "from test_distributed import few_digits, options, small_model\n"
        "warnings.simplefilter('ignore')\n"
        "model, seen = small_model(), []\n"
        "model[0].register_forward_hook(lambda _m, x, _o: seen.append(len(x[0])))\n"
        "found = invkit.explain(model, '2', few_digits(), cache=out / 'cache', **options())\n"
        "(out / f'{rank}.json').write_text(json.dumps([sum(seen), found.metrics]))\n",
    )
    alone = invkit.explain(small_model(), "2", few_digits(), **options())
    (seen, metrics), (also_seen, same) = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert metrics == same
    sent_back = IMAGES * TIMES_SENT + 2 * (3 * 2 + 1)  # for the fidelity, with first looks
    assert seen + also_seen <= len(few_digits()) + 2 * 3 * 2 + 2 * sent_back  # and first looks at two images
    assert min(seen, also_seen) > 1024 + IMAGES  # a part of the images, and what each sends back
    for name in ("nll", "nll_prior"):
        assert metrics[name] == pytest.approx(alone.metrics[name], abs=0.02)
    print(
        metrics["nll"],
        alone.metrics["nll"],
        metrics["nll_prior"],
        alone.metrics["nll_prior"],
        metrics["invariance"],
        alone.metrics["invariance"],
    )
    assert metrics["invariance"]["value"] == pytest.approx(alone.metrics["invariance"]["value"], abs=0.02)
    assert not [file for entry in entries(tmp_path / "cache") for file in damaged_files(entry)]


def test_processes_compute_small_latents_each_and_share_large_ones(tmp_path):
    launch(
        tmp_path,
        "from invkit.data import latent_store as store\n"
        "right, seen = torch.arange(3000.0)[:, None], []\n"
        "def compute(rows, wanted):\n"
        "    seen.extend(range(rows.start, rows.stop))\n"
        "    return {'z': {'a': right[rows]}}\n"
        "def filled():\n"
        "    stores = store.open_stores(3000, {'z': store.LatentSpec({'a': (1,)}, None, {})})\n"
        "    store.fill_stores(stores, compute, title='z')\n"
        "    return stores['z']['a']\n"
        "if rank == 1:\n"  # who waits for nobody
        "    assert torch.equal(filled(), right)\n"
        "    assert len(seen) == 3000\n"
        "    seen.clear()\n"
        "store._SMALL = 3000 * 4 - 1\n"
        "z = filled()\n"
        "assert torch.equal(z[:], right)\n"
        "assert len(seen) == (3000 - 1024, 1024)[rank]\n"
        "distributed.barrier()\n",
    )


def few_digits():
    return color_digits(copies=2).take(torch.arange(2600))


class Coarse(Autoencoder):
    """Twelve mean colours are the code."""

    image_size, latent_shape, config = 28, (12,), {}

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def encode(self, images):
        mean = 4 * nn.functional.adaptive_avg_pool2d(images, 2).flatten(1) - 2
        return Posterior(mean, torch.full_like(mean, 0.1))

    def decode(self, latents):
        return nn.functional.interpolate(latents.unflatten(1, (3, 2, 2)) / 4 + 0.5, (28, 28)).clamp(0, 1)


def options():
    """An autoencoder that both share, and enough steps that little is left of chance."""
    fit = FitSettings(steps=200, batch_size=256, learning_rate=3e-3, evaluate_every=50)
    settings = replace(Settings.tiny(), fit_t=fit)
    return {"autoencoder": Coarse(), "settings": settings}
