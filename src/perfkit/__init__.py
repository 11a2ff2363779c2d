"""perfkit: the output of every Linux profiler and tracer in one database.

The working folders stand at the repository's root; this package is their facade, one relative link a folder.
"""

__version__ = "0.1.0"
