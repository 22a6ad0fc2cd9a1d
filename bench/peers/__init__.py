"""The programs that cdrhub is measured beside, set up as their own documentation says."""
