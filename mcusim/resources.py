"""Where the data that ships with mcusim lies, in a wheel and in a checkout alike."""

from pathlib import Path

__all__ = ["data_path"]

_PACKAGE = Path(__file__).resolve().parent


def data_path(*parts: str) -> Path:
    """Path of a data file or folder, for example ``data_path("board_models", "cores")``.

    A wheel carries the data inside the package; a checkout keeps it beside the package.

    Args:
        *parts: the folder (``board_models``, ``kernels`` or ``calibration``) and what is in it.

    Returns:
        The path, which need not exist.
    """
    packed = _PACKAGE / "data"
    root = packed if packed.is_dir() else _PACKAGE.parent
    return root.joinpath(*parts)
