"""Syntax: what the syntax trees of a learner's source say. It imports only the standard library.

A source of many nested brackets can crash Python's own compiler. So this file is itself run in the worker process
(`analysis.py`), which may crash. It runs none of the source.
"""

import ast
import hashlib
import sys

IMPORTING = {"__import__", "eval", "exec"}


def definitions(cells: list[str]) -> str:
    """Return the definitions of a notebook's code cells as one source: imports, functions, classes, assignments.

    Other statements, such as a plot, are left out, and so are imports of packages other than NumPy.
    """
    kept = []
    for cell in cells:
        text = "\n".join("" if line.lstrip()[:1] in ("%", "!") else line for line in cell.splitlines())
        try:
            statements = ast.parse(text).body
        except (SyntaxError, ValueError):
            kept.append(text)  # the error is then reported with the learner's own line
            continue
        lines = text.splitlines()
        kept += ["\n".join(lines[_first_line(node) - 1 : node.end_lineno]) for node in statements if _is_kept(node)]
    return "\n".join(kept) + "\n"


def _first_line(node: ast.stmt) -> int:
    """Return the line with which a statement begins: for a function, the line of its first decorator."""
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def _is_kept(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return all(name == "numpy" or name in sys.stdlib_module_names for name in _imported(node))
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return [name.split(".")[0] for name in names]


def facts(source: str, function: str) -> dict[str, object]:
    """Return facts about a source: the digest of its function's normalised tree, its size, and what it imports.

    The tree is that of the function and of the functions that it uses, in the order of their first use. Normalised
    means: without comments, docstrings, annotations and layout, and with the names of variables replaced by numbers in
    the order of their first use. So a copy with other names, or with its functions in another order, has the same
    digest.
    """
    tree = ast.parse(source)
    found = _reached(tree, function)
    if not found:
        return {"digest": "", "nodes": 0, "imports": _all_imported(tree), "arguments": []}
    arguments = [argument.arg for argument in found[0].args.args]
    imports, normal = _all_imported(tree), _Normal()
    trees = [normal.visit(node) for node in found]
    text = "\n".join(map(ast.dump, trees))
    return {
        "digest": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
        "nodes": sum(1 for one in trees for _ in ast.walk(one)),
        "imports": imports,
        "arguments": arguments,
    }


def _all_imported(tree: ast.Module) -> list[str]:
    """Return the names of imported modules, and of the built-in functions that can import without saying so."""
    nodes = list(ast.walk(tree))
    names = {name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for name in _imported(node)}
    return sorted(names | {node.id for node in nodes if isinstance(node, ast.Name) and node.id in IMPORTING})


def _reached(tree: ast.Module, function: str) -> list[ast.FunctionDef]:
    """Return the function of this name, and the functions of the file that it uses, in the order of first use."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    reached = [functions[function]] if function in functions else []
    for node in reached:  # it grows while it is read
        for name in _names_used(node):
            if name in functions and functions[name] not in reached:
                reached.append(functions[name])
    return reached


def _names_used(node: ast.AST) -> list[str]:
    """Return the names in a tree, in the order of the source."""
    names = [one for one in ast.walk(node) if isinstance(one, ast.Name)]
    return [name.id for name in sorted(names, key=lambda name: (name.lineno, name.col_offset))]


class _Normal(ast.NodeTransformer):
    """Removes docstrings and annotations, and gives variables the names v0, v1, ..."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def _new(self, name: str) -> str:
        return self.names.setdefault(name, f"v{len(self.names)}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name, node.returns = self._new(node.name), None
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.visit(ast.Assign(targets=[node.target], value=node.value))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(arg=self._new(node.arg), annotation=None)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(id=self._new(node.id), ctx=node.ctx)
