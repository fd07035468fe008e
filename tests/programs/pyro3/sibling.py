"""Imported by as_python.py."""

VALUE = "from the same directory"
