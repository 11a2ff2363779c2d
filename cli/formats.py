"""`perfkit formats`: what perfkit reads."""

from __future__ import annotations

from perfkit.cli.common import JsonOption, examples

EPILOG = examples("perfkit formats", "perfkit formats --json")


def formats(*, json: JsonOption = False) -> None:
    """List the formats that perfkit reads.

    They stand in the order in which they are tried; the content decides, never the name of a file.
    """
    from dataclasses import asdict

    from perfkit.adapters.registry import adapters
    from perfkit.cli.output import print_json, print_table

    infos = [adapter.info for adapter in adapters()]
    if json:
        print_json([asdict(info) for info in infos])
        return
    print_table(
        ["format", "tool", "variants", "fills"],
        [[info.name, info.tool, list(info.formats), list(info.yields)] for info in infos],
    )
