"""Parts of `gpyro.proxy`."""
