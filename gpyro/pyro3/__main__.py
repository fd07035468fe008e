"""`python -m gpyro.pyro3 program.py` runs a program for Pyro 3."""

import sys

if __name__ == "__main__":
    from gpyro._pyro3.running import main

    # This module is not `__main__` any more once the program runs; nothing here is used after that.
    main(sys.argv[1:])
