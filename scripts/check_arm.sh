#!/usr/bin/env bash
# The exact backend's hashes on ARM: this machine emulates one (qemu), which runs Debian's Python and NumPy's own wheel.
# Everything lies in .arm/, beside the project; nothing is installed, and no root is needed. Fails if a hash differs.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "check_arm: $*" >&2
    exit 1
}
pip=.venv/bin/pip
[ -x "$pip" ] || fail "expected .venv; make it with: python3 -m venv .venv && .venv/bin/pip install -e '.[test]'"
for tool in apt-get dpkg-deb; do
    command -v "$tool" > /dev/null || fail "$tool is missing; this check needs Debian, for its arm64 packages"
done

# Another recipe, another folder: what an older one made is not used.
arm=.arm/$(cat "$0" pyproject.toml | sha256sum | cut -c1-12)

# The emulated ARM's Python is a script, since this machine cannot start an ARM program by itself. `-0` makes the script
# Python's own name for itself (sys.executable), so the processes that Python starts are emulated too.
python=root/usr/bin/emulated-python3

write_python() {
    cat > "$place/$python" << 'END'
#!/bin/sh
place=$(dirname "$0")/../../..
exec "$place/qemu" -0 "$0" -L "$place/root" "$place/root/usr/bin/python3" "$@"
END
    chmod +x "$place/$python"
}

# on_arm PROGRAM ARGUMENTS...: run Python on the emulated ARM, with its wheels and this source tree.
on_arm() {
    PYTHONPATH=$place/wheels:.:tests PYTHONDONTWRITEBYTECODE=1 "$place/$python" "$@"
}

# fetch ARCHITECTURE PACKAGES...: they and all they depend on into $place/debs, by this system's own sources of
# packages, but with lists and state that are private to this script.
fetch() {
    local state=$place/apt-$1
    mkdir -p "$state/lists/partial" "$place/debs/partial"
    touch "$state/status"
    local options=(-qq -o "APT::Architecture=$1" -o "APT::Architectures=$1" -o "Dir::State=$state"
        -o "Dir::State::status=$state/status" -o "Dir::Cache=$state" -o "Dir::Cache::archives=$place/debs")
    apt-get "${options[@]}" update
    apt-get "${options[@]}" --yes --no-install-recommends --download-only install "${@:2}"
}

# unpack FOLDER: what was fetched, as it would be installed.
unpack() {
    for package in "$place"/debs/*.deb; do
        dpkg-deb --extract "$package" "$1"
    done
    rm -r "$place/debs"
}

make() {
    fetch "$(dpkg --print-architecture)" qemu-user-static
    unpack "$place/host"
    cp -L "$(find "$place/host/usr/bin" -name 'qemu-aarch64*' -not -name '*_be*' -print -quit)" "$place/qemu"
    fetch arm64 python3 libstdc++6
    mkdir -p "$place/root/usr/lib" && ln -s usr/lib "$place/root/lib"
    unpack "$place/root"
    write_python
    python_version=$(on_arm -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    grep -oE '"(numpy|tokenizers|safetensors|threadpoolctl)>=[^"]*"' pyproject.toml | tr -d '"' > "$place/requirements.txt"
    "$pip" install --quiet --no-deps --no-compile --only-binary=:all: --python-version "$python_version" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
        --target "$place/wheels" --requirement "$place/requirements.txt"
    rm -r "$place"/apt-* "$place/host"
}

half_made() {
    { grep -v '^W: ' "$place/log" || true; } | tail -5 >&2
    rm -rf "$place"
    fail "the ARM system could not be made; the lines above say why"
}

if [ ! -d "$arm" ]; then
    rm -rf .arm && mkdir .arm
    place=$(mktemp -d "$PWD/.arm/half-made.XXXXXX")
    trap half_made EXIT
    trap 'exit 130' INT TERM HUP
    make > "$place/log" 2>&1
    trap - EXIT INT TERM HUP
    mv "$place" "$arm"
fi
place=$PWD/$arm

# check NAME HASH PROGRAM ARGUMENTS...: what the program prints on ARM is this hash.
check() {
    local found
    found=$(on_arm "${@:3}")
    echo "$found  $1, on $(on_arm -c 'import platform; print(platform.machine())')"
    [ "$found" = "$2" ] || fail "$1: expected $2, as elsewhere"
}

check "the tests' golden model" "$(sed -n 's/^GOLDEN_HASH = "\(.*\)"$/\1/p' tests/golden_model.py)" tests/golden_model.py
grep -oE '^\| `[a-z0-9-]+` \| `[0-9a-f]{64}`' docs/exactness.md | tr -d '|`' | while read -r model hash; do
    [ ! -d "weights/$model" ] || check "$model" "$hash" -m minillm exactness --model "$model" --hash-only
done
hash=$(sed -n 's/^| `story-draft` | `int4` | `\([0-9a-f]*\)` |$/\1/p' docs/exactness.md) # rounded on ARM, too
check "story-draft in int4" "$hash" -m minillm exactness --model story-draft --weights int4 --hash-only
