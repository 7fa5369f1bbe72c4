"""How to install an extra. minillm is in no package registry, so an extra is installed from the source folder."""

from minillm.support.shipped import PACKAGE


def install_hint(extra: str) -> str:
    """Return the command that installs an extra, such as `pip install -e "/home/me/minillm[notebook]"`."""
    source = PACKAGE.parent
    if (source / "pyproject.toml").is_file():
        return f'pip install -e "{source}[{extra}]"'
    return f'pip install -e ".[{extra}]" in the source folder of minillm'
