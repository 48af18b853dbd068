"""Images, their concepts, and what models make of them."""

from invkit.data.attributes import read_attributes
from invkit.data.augment import augmented
from invkit.data.concepts import Concept, Pairing, as_concept
from invkit.data.digits import color_digits
from invkit.data.generated import Generated
from invkit.data.images import as_image_set
from invkit.data.imageset import ImageSet, as_bytes, evenly
from invkit.data.latents import decode_all, encode_all, expect_finite, latent_codes, represent_all
from invkit.data.rows import Codes, FileRows, Rows
from invkit.data.shaping import sized
from invkit.data.store import LatentStore, Place, expect_room, fill, latent_stores
from invkit.data.stored import Stored, gathered

__all__ = [
    "Codes",
    "Concept",
    "FileRows",
    "Generated",
    "ImageSet",
    "LatentStore",
    "Pairing",
    "Place",
    "Rows",
    "Stored",
    "as_bytes",
    "as_concept",
    "as_image_set",
    "augmented",
    "color_digits",
    "decode_all",
    "encode_all",
    "evenly",
    "expect_finite",
    "expect_room",
    "fill",
    "gathered",
    "latent_codes",
    "latent_stores",
    "read_attributes",
    "represent_all",
    "sized",
]
