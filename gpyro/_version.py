"""The version, by itself, so that packaging reads it without importing gevent."""

__version__ = "0.1.0"
