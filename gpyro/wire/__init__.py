"""Bytes in, frames out: gpyro's own wire, the greeting, and who else may be calling."""
