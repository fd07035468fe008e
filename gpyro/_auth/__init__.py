"""Parts of `gpyro.auth`."""
