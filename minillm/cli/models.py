"""`minillm models`: list the models that have a name, and say which are on disk."""

import argparse
from pathlib import Path
from typing import Any

from minillm.cli.printing import print_json
from minillm.loading.registry import REGISTRY, RegisteredModel


def add_parser(commands: Any) -> None:
    """Add `models`, whose one option is --json."""
    parser = commands.add_parser(
        "models", help="list the models", description="List the models that can be loaded by name."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print all registered models."""
    models = [(model, model.folder()) for model in REGISTRY.values()]
    if options.json:
        print_json({"models": [_described(model, folder) for model, folder in models]})
        return 0
    for model, folder in models:
        print(f"{model.name}: {model.description}")
        print(f"  {model.parameters / 1e6:.3g} M parameters, {model.license}")
        print(f"  {_where(model, folder)}")
    print("Also: a folder in Hugging Face layout, a .gguf file, or hf:org/name.")
    return 0


def _where(model: RegisteredModel, folder: Path | None) -> str:
    if model.make is None:
        return "ships with minillm"
    return f"on disk: {folder}" if folder else "not on disk: downloaded once, at first use"


def _described(model: RegisteredModel, folder: Path | None) -> dict[str, str | int]:
    return {
        "name": model.name,
        "description": model.description,
        "parameters": model.parameters,
        "license": model.license,
        "folder": str(folder or ""),
    }
