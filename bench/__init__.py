"""Measurements of cdrhub beside peers, as ratios of one run on one machine. `make bench` runs them."""
