"""Image sets as text."""

import torch

from invkit.data import ImageSet, as_concept


def test_a_representation_is_one_short_line():
    groups = torch.arange(6) // 2
    values = {f"concept {k}": as_concept("kind", [0, 1, 0, 1, 0, 1]) for k in range(40)}
    assert repr(ImageSet(torch.rand(6, 3, 8, 8))) == "ImageSet(6 images of 8 px, concepts=[])"
    some = ImageSet(torch.rand(6, 3, 8, 8), {"kind": values["concept 0"]}, groups)
    assert repr(some) == "ImageSet(6 images of 8 px, concepts=['kind'], 3 groups)"
    assert len(repr(ImageSet(torch.rand(6, 3, 8, 8), values))) < 120
