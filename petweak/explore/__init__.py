"""What the explorers of `petweak.widgets` show, without a widget: fast, from a run's cache."""
