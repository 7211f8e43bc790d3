"""``python -m ccos`` is the command ``ccos``."""

import sys

from ccos.interfaces.cli import main

if __name__ == "__main__":
    sys.exit(main())
