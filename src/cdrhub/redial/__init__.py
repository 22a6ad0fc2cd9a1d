"""Redial: which number of a case is dialled next, and why."""
