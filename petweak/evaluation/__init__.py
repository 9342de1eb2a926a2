"""Scores: metrics of one photo, statistics over photos, and the tables made of both."""
