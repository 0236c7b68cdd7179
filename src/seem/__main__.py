"""`python -m seem` is the command `seem`."""

import sys

from seem.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
