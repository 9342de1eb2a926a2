"""Scores: metrics of one photo, statistics over photos, and the tables made of both."""

from petweak import modules_of

__getattr__ = modules_of(__name__)
