"""callgrind's format: costs by place in the code, and the calls between functions. cachegrind writes a part of it."""

from perfkit.adapters.callgrind.adapter import Callgrind

__all__ = ["Callgrind"]
