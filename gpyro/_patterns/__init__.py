"""How patterns are matched: string tests, state bits, Python's `re` with a proof, and re2."""
