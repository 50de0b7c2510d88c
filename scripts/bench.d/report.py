"""Results as Markdown."""
from __future__ import annotations

from rig import Table

INTRODUCTION = """# Benchmarks

Written by `scripts/bench`; figures of one run on one machine, where the servers, rclone and our daemon share the
cores. Compare columns of one table, not tables of different machines. Remote requests are counted by the endpoint
(it tells HEAD as GET). Nothing here is asserted by a test.
"""


def page(about: list[str], tables: list[Table]) -> str:
    return '\n'.join([INTRODUCTION, *(f'- {line}' for line in about), '', *map(section, tables)])


def section(table: Table) -> str:
    """One table with its heading; headings over columns that are empty everywhere are left out."""
    lines = [f'## {table.title}', '', table.about, '', _line(table.columns), _line(['---'] * len(table.columns)),
             *map(_line, table.rows), '']
    if table.notes:
        lines += [*(f'- {note}' for note in table.notes), '']
    return '\n'.join(lines)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f'| {" | ".join(cells)} |'
