"""The `gpyro` command: words in, library calls, words out.

`main` knows the commands by name and loads one only when it runs, so that `gpyro --help` is quick. Commands that
serve patch the process with gevent in their first line; no module here does so when it is imported.
"""
