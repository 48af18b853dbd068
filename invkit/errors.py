"""The errors and warnings of invkit.

::

    InvkitError                what went wrong, what was expected, what came instead, next step
     ├── LayerError            an unknown layer, one that never fires, or one without a usable output
     ├── DataError             images, labels, concepts or models that cannot be used
     ├── SettingsError         an option out of its range, or options that contradict each other
     ├── PluginError           a plugin that is missing, broken or ambiguous, or a name that no plugin offers
     ├── TrainingError         training diverged and could not be recovered
     └── ArtefactError         a file or folder that is missing, damaged, of another version or of another model
    InvkitWarning              something that the user should know and that does not stop the run
     └── PreprocessWarning     the preprocessing of a model is unknown
"""

__all__ = [
    "ArtefactError",
    "DataError",
    "InvkitError",
    "InvkitWarning",
    "LayerError",
    "PluginError",
    "PreprocessWarning",
    "SettingsError",
    "TrainingError",
]


class InvkitError(Exception):
    """Base class of all errors; the message says what went wrong and what to do next.

    Args:
        what: what is wrong, one sentence without the full stop.
        expected: what would be right.
        got: what came instead.
        hint: next step for the user.

    Attributes:
        what, expected, got, hint: as given.

    Example:
        >>> raise InvkitError("Too few images", expected="at least 100", got=7, hint="Collect more.")
        Traceback (most recent call last):
        ...
        invkit.errors.InvkitError: Too few images. Expected: at least 100. Got: 7. Collect more.
    """

    def __init__(self, what: str, *, expected: object = None, got: object = None, hint: str = "") -> None:
        self.what, self.expected, self.got, self.hint = what, expected, got, hint
        parts = [what + "."]
        if expected is not None:
            parts.append(f"Expected: {expected}.")
        if got is not None:
            parts.append(f"Got: {got}.")
        if hint:
            parts.append(hint)
        super().__init__(" ".join(parts))


class LayerError(InvkitError):
    """An unknown layer, a layer that never fires, or an output that cannot be explained."""


class DataError(InvkitError):
    """Images, labels, concepts or models that cannot be used."""


class SettingsError(InvkitError):
    """An option out of its range, or options that contradict each other."""


class PluginError(InvkitError):
    """A plugin that is missing, broken or ambiguous, or a name that no plugin offers."""


class TrainingError(InvkitError):
    """Training diverged and could not be recovered."""


class ArtefactError(InvkitError):
    """A file or folder that is missing, damaged, of another version or of another model."""


class InvkitWarning(UserWarning):
    """Something that the user should know and that does not stop the run."""


class PreprocessWarning(InvkitWarning):
    """The preprocessing of a model is unknown."""
