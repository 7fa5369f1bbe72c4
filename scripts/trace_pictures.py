"""Take the pictures of the README: the page of a trace at three moments of real runs, in light and in dark.

python scripts/trace_pictures.py --out docs/pictures      # needs the extra `browser`, and Chromium

The runs are the same on every machine: they use the exact backend. Fonts differ, so pictures of two machines do too.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

import minillm
from minillm.trace.page import page

WARM = minillm.Sampling(temperature=0.8, top_k=40, seed=7)

WIDTH, HEIGHT, SCALE = 800, 720, 1.25  # pixels of the page that are shown, and pixels of the picture for each of them


def attention(model: minillm.Model) -> None:
    """The attention of a prompt's tokens."""
    minillm.generate(model, "The capital of France is", 3)


def cache(model: minillm.Model) -> None:
    """Samples that share the blocks of their prompt, and a request that finds blocks by their tokens."""
    engine = minillm.Engine(model, block_size=4, num_blocks=14, max_batch_tokens=24)
    engine.submit_samples("Once upon a time, there was a little girl named", 2, 9, WARM)
    engine.submit("The sky is", 6)
    engine.step()
    engine.submit("Once upon a time, there was a big", 7, WARM)
    engine.run()


def speculation(model: minillm.Model) -> None:
    """Draft tokens that are accepted and rejected."""
    draft = minillm.load("story-draft", backend="exact")
    minillm.speculative_generate(
        model, draft, "Once upon a time, there was a", 20, minillm.Sampling(1.0, top_k=20, seed=11), k=3
    )


MOMENTS = {attention: "#step=3&view=attention", cache: "#step=3&view=cache", speculation: "#step=4&view=speculation"}


def main() -> None:
    """Write two files for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"), help="folder for the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for run, moment in MOMENTS.items():
            trace, file = Path(folder) / f"{run.__name__}.jsonl", Path(folder) / f"{run.__name__}.html"
            with minillm.trace.record(trace, detail="attention", layers=[0, 3, 5]):
                run(minillm.load("story", backend="exact"))
            file.write_text(page(minillm.trace.load(trace)), encoding="utf-8")
            for scheme in ("light", "dark"):
                take(browser, f"file://{file}{moment}", scheme, out / f"{run.__name__}-{scheme}.png")


def take(browser: Browser, address: str, scheme: str, picture: Path) -> None:
    """Write the picture of a page."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 4 * HEIGHT},
        device_scale_factor=SCALE,
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    shown = context.new_page()
    shown.goto(address)
    top = shown.locator(".tabs").bounding_box()
    assert top is not None, f"the page has no views: {address}"
    shown.screenshot(path=picture, clip={"x": 0, "y": top["y"] - 12, "width": WIDTH, "height": HEIGHT})
    context.close()
    print(f"{picture}: {picture.stat().st_size} bytes")


if __name__ == "__main__":
    main()
