"""`perf stat` output: CSV (`-x`), JSON lines (`-j`) and the tables for people, whole runs and intervals (`-I`)."""

from perfkit.adapters.perf_stat.adapter import PerfStat

__all__ = ["PerfStat"]
