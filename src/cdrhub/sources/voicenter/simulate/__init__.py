"""A simulated Voicenter account, for the demo, the command line and the tests."""

from cdrhub.sources.voicenter.simulate.account import MIX, Account
from cdrhub.sources.voicenter.simulate.clicks import PATH
from cdrhub.sources.voicenter.simulate.formats import render
from cdrhub.sources.voicenter.simulate.pushing import simulate

__all__ = ["MIX", "PATH", "Account", "render", "simulate"]
