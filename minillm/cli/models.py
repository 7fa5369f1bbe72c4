"""`minillm models`: what can be loaded by name, and what is on disk already."""

import argparse
from pathlib import Path
from typing import Any

from minillm.cli.printing import print_json
from minillm.loading.registry import REGISTRY, RegisteredModel


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("models", help="list models", description="List what can be loaded by name.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the registry."""
    models = [(model, model.folder()) for model in REGISTRY.values()]
    if options.json:
        print_json({"models": [_described(model, folder) for model, folder in models]})
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("model", "parameters", "licence", "on disk", "what it is"):
        table.add_column(heading, overflow="fold")
    for model, folder in models:
        on_disk = "yes" if folder else "no, fetched at first use"
        table.add_row(model.name, f"{model.parameters / 1e6:.0f} M", model.license, on_disk, model.description)
    console = Console(highlight=False)
    console.print(table)
    console.print("Also: a folder in Hugging Face layout, a .gguf file, or hf:org/name.")
    return 0


def _described(model: RegisteredModel, folder: Path | None) -> dict[str, str | int]:
    return {
        "name": model.name,
        "description": model.description,
        "parameters": model.parameters,
        "license": model.license,
        "folder": str(folder or ""),
    }
