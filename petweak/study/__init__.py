"""A study: one run's folder, its stages and their keys, its results and their tables."""

from petweak import modules_of

__getattr__ = modules_of(__name__)
