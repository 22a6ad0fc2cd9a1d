"""cdrhub: call detail records from every phone system in one calls table."""

__version__ = "0.1.0"
