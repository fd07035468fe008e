"""`python -m gpyro` is the `gpyro` command."""

from gpyro.util import run_command

if __name__ == "__main__":
    run_command()
