"""A simulated 3CX PBX, for the demo, the command line and the tests."""

from cdrhub.sources.threecx.simulate.lines import LAYOUTS, MIX, PBX, CallidForm, Version
from cdrhub.sources.threecx.simulate.sending import simulate

__all__ = ["LAYOUTS", "MIX", "PBX", "CallidForm", "Version", "simulate"]
