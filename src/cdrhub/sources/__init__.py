"""Phone systems: each a folder of its own, found through the entry-point group `cdrhub.sources`."""
