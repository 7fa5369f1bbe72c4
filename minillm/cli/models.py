"""`minillm models`: what can be loaded by name, and what is on disk already."""

import argparse
from typing import Any

from minillm.cli.printing import print_json


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("models", help="list models", description="List what can be loaded by name.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the registry."""
    from minillm.loading.registry import REGISTRY

    rows = [
        {
            "name": m.name,
            "description": m.description,
            "parameters": m.parameters,
            "license": m.license,
            "folder": str(m.folder() or ""),
        }
        for m in REGISTRY.values()
    ]
    if options.json:
        print_json({"models": rows})
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("model", "parameters", "licence", "on disk", "what it is"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        on_disk = "yes" if row["folder"] else "no, fetched at first use"
        table.add_row(row["name"], f"{row['parameters'] / 1e6:.0f} M", row["license"], on_disk, row["description"])
    console = Console(highlight=False)
    console.print(table)
    console.print("Also: a folder in Hugging Face layout, a .gguf file, or hf:org/name.")
    return 0
