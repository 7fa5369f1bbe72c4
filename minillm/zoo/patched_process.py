"""A child process that imports minillm with one module changed: the source is patched before it is compiled.

It is run as a script, so that nothing of minillm is imported before the hook is installed. It reads a request from
stdin, an object with `root` (the folder of the package), `number` (of the bug), `module` and `patch` (none for the
healthy engine), and it writes the result of `experiment.run` to stdout as JSON. The files on disk are never changed.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType


class PatchedLoader(SourceFileLoader):
    """Loads a module from its source file, with each old text replaced by its new text."""

    patch: Sequence[tuple[str, str]] = ()

    def get_code(self, fullname: str) -> CodeType:
        """Compile the patched source. A cached bytecode file is neither read nor written.

        Raises:
            ImportError: an old text does not occur exactly once.
        """
        source = self.get_data(self.path).decode("utf-8")
        for old, new in self.patch:
            if source.count(old) != 1:
                raise ImportError(f"the text to replace occurs {source.count(old)} times in {fullname}: {old}")
            source = source.replace(old, new)
        return compile(source, self.path, "exec", dont_inherit=True)


class PatchFinder(MetaPathFinder):
    """Finds one module, and lets a PatchedLoader load it. All other modules are found as usual."""

    def __init__(self, module: str, patch: Sequence[tuple[str, str]]) -> None:
        self.module, self.patch = module, patch

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the module is, if it is the patched one."""
        if fullname != self.module:
            return None
        spec = PathFinder.find_spec(fullname, path)
        assert spec is not None and spec.origin is not None, f"there is no module {fullname}"
        spec.loader = PatchedLoader(fullname, spec.origin)
        spec.loader.patch = self.patch
        return spec


def main() -> None:
    """Install the hook, run the experiment of the request, and write its result."""
    request = json.load(sys.stdin)
    result, sys.stdout = sys.stdout, open(os.devnull, "w")  # what a patched engine prints is not part of the result
    sys.meta_path.insert(0, PatchFinder(request["module"], request["patch"]))
    sys.path.insert(0, request["root"])
    from minillm.zoo.experiment import run

    json.dump(run(request["number"]), result)


if __name__ == "__main__":
    main()
