"""The domain, without I/O: records, updates, calls and the fold that joins them."""
