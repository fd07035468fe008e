"""`python -m gpyro.pyro3 program.py` runs a program for Pyro 3."""

import sys
from importlib import import_module

if __name__ == "__main__":
    # By name, as this module is not the program's `__main__` any more once that runs.
    import_module("gpyro._pyro3.running").main(sys.argv[1:])
