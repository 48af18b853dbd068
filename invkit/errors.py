"""Every error that invkit raises on purpose.

::

    InvkitError                what went wrong, expected, got, next step
     ├── LayerError            an address that names no layer, never fires, or gives nothing usable
     ├── DataError             images, labels or concepts that cannot be used
     ├── SettingsError         an option out of its range, or two that contradict each other
     ├── PluginError           a plugin that is missing, broken or ambiguous, or a name that none offers
     ├── TrainingError         training diverged and could not be recovered
     └── ArtefactError         a saved folder that is missing, truncated or of another version
    InvkitWarning              something worth knowing that does not stop the work
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
    """An error whose message says what went wrong and what to do next.

    Args:
        what: the thing that is wrong, one sentence without its full stop.
        expected: what would have been right.
        got: what came instead.
        hint: the next step for the user.
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
    """An address that names no layer, a layer that never fires, or an output that cannot be explained."""


class DataError(InvkitError):
    """Images, labels or concepts that cannot be used."""


class SettingsError(InvkitError):
    """An option out of its range, or two that contradict each other."""


class PluginError(InvkitError):
    """A plugin that is missing, broken or ambiguous, or a name that none offers."""


class TrainingError(InvkitError):
    """Training diverged and could not be recovered."""


class ArtefactError(InvkitError):
    """A saved folder that is missing, truncated, of another version or of another model."""


class InvkitWarning(UserWarning):
    """Something worth knowing that does not stop the work."""


class PreprocessWarning(InvkitWarning):
    """Nobody said how a model's images are prepared."""
