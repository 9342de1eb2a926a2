"""A study: one run's folder, its stages and their keys, its results and their tables."""
