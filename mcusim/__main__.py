"""The command line: the script ``mcusim``, and ``python -m mcusim``."""

# What signal wraps: its own import takes long enough to be interrupted.
import _signal as signal  # type: ignore[import-not-found]

__all__ = ["main"]

# Until the command line listens, an interrupt ends the process without a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Run the command line."""
    from mcusim import cli

    cli.main()


if __name__ == "__main__":
    main()
