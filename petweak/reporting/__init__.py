"""What a finished run becomes for readers: reports, cards, executed notebooks, sweeps."""
