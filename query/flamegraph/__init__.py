"""Flame graphs: the weighted stacks of captures, merged into one call tree and drawn.

Selection ─ load_profile ──▶ Profile(CallTree, symbols, metric) ─ renderer ──▶ html, svg, folded
"""
