"""Weights from files and the hub: missing and unreadable ones raise an ArtefactError."""

import argparse
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from torch import nn

from invkit.errors import ArtefactError
from invkit.interpretees import hub_file, load_weights, read_weights

huggingface_hub = pytest.importorskip("huggingface_hub")


class CutOff(BaseHTTPRequestHandler):
    """A hub whose downloads end after ten bytes of a thousand."""

    def do_HEAD(self):
        self.send_response(200)
        for header in (("ETag", '"abc"'), ("X-Repo-Commit", 40 * "a"), ("Content-Length", "1000")):
            self.send_header(*header)
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(10 * b"x")

    def log_message(self, *_):
        pass


class Redirected(BaseHTTPRequestHandler):
    """A hub that redirects in a circle."""

    def do_HEAD(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("handler", [CutOff, Redirected])
def test_every_failure_of_a_download_is_an_artefact_error(handler, monkeypatch, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    here = partial(
        huggingface_hub.hf_hub_download, endpoint=f"http://127.0.0.1:{server.server_port}", cache_dir=tmp_path
    )
    monkeypatch.setattr("huggingface_hub.hf_hub_download", here)
    try:
        with pytest.raises(ArtefactError, match=r"Cannot get model\.safetensors of a/b from the hub"):
            hub_file("a/b", ["model.safetensors"])
    finally:
        server.shutdown()
        server.server_close()


def test_a_checkpoint_with_python_objects_is_refused_without_torchs_advice_to_execute_it(tmp_path):
    torch.save({"model": nn.Linear(2, 2).state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(ArtefactError) as told:
        read_weights(tmp_path / "a.pth")
    assert "Python objects beside tensors (argparse.Namespace)" in str(told.value)
    assert "save only its `state_dict()`" in str(told.value)
    assert "\x1b" not in str(told.value)
    assert "weights_only" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b".", b"h\x05.", b"R", b"c", b"garbage", b"<html>", b"\x80\x02]q\x00K\x01a."])
def test_a_damaged_file_is_refused(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ArtefactError, match="Cannot read the weights") as told:
        read_weights(tmp_path / "a.pth")
    assert "weights_only" not in str(told.value)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("wrap", [nn.Identity(), nn.DataParallel, partial(torch.compile, backend="eager")])
def test_weights_fit_inside_and_outside_of_compile_and_data_parallel(prefix, wrap, tmp_path):
    saved, loaded = nn.Linear(2, 2), nn.Linear(2, 2)
    torch.save({prefix + key: value for key, value in saved.state_dict().items()}, tmp_path / "a.pth")
    load_weights(wrap(loaded), tmp_path / "a.pth")
    assert torch.equal(loaded.weight, saved.weight)
