"""`porch`: the entry of the command line. Nothing is imported before Ctrl-C is understood."""

import gc
import sys

# A start makes many objects and hardly any garbage; looking for it took a tenth of every command.
START_THRESHOLDS = 100_000, 20, 50


def main() -> None:
    """The console script."""
    gc.set_threshold(*START_THRESHOLDS)
    try:
        from porch.cli.root import run

        code = run()
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
