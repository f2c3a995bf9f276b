"""The errors users see: each is one sentence that names the place and what would be right."""

__all__ = [
    "BoardError",
    "FirmwareError",
    "ImageError",
    "InputError",
    "McusimError",
    "ModelError",
    "UnsupportedOperatorError",
]


class McusimError(Exception):
    """Base of every error that mcusim raises on purpose."""


class ModelError(McusimError):
    """A model file is damaged, or no runtime that was asked for can run it."""


class UnsupportedOperatorError(ModelError):
    """The runtime itself would refuse this operator, with these types or options."""


class BoardError(McusimError):
    """A board file is missing, malformed or impossible."""


class FirmwareError(McusimError):
    """Firmware did what it should not: it faulted, or a function did not return."""


class InputError(McusimError):
    """Inputs or settings that do not fit the model, the board or the command."""


class ImageError(InputError):
    """A firmware image is damaged, or not of a kind that a Cortex-M can run."""
