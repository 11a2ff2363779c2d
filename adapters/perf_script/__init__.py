"""`perf script` text: samples with callchains, tracepoints and side-band records, whichever fields were chosen."""

from perfkit.adapters.perf_script.adapter import PerfScript

__all__ = ["PerfScript"]
