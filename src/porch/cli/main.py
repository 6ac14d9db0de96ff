"""`porch`: the entry of the command line. Nothing is imported before Ctrl-C is understood."""

import sys


def main() -> None:
    """The console script."""
    try:
        from porch.cli.root import run

        code = run()
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
