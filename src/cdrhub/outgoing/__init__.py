"""Requests to servers of other people: whom they may reach, how they are signed, what is taken for an answer."""
