"""A learner's feedback page in a real browser: on a phone and a laptop, light and dark, without scripts."""

import shutil
from dataclasses import replace

import pytest

from minillm.classroom.exercises.exercise import find_exercise
from minillm.classroom.grading.course_file import Course
from minillm.classroom.grading.feedback import html_page
from minillm.classroom.grading.grade import HandedIn, planned_result
from minillm.classroom.grading.submissions import Submission

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
EVIL = "</pre><script>document.title = 'changed'</script>"
BRIGHTNESS = """() => {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = "Canvas";
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour.match(/[0-9]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3;
}"""


def page_of_a_learner():
    """A page with a name and a message that are long, without spaces, and hostile."""
    name = "x" * 80
    planned = planned_result(Submission(name, (), "x"), HandedIn(), Course((find_exercise("softmax"),)), 1)
    rows = tuple(replace(row, outcome="failed", message="y" * 300 + EVIL) for row in planned.rows)
    return html_page(replace(planned, rows=rows, notes=("z" * 300,)))


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_follows_the_scheme_and_is_accessible(tmp_path, width, scheme):
    (tmp_path / "page.html").write_text(page_of_a_learner(), encoding="utf-8")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = running.new_page(viewport={"width": width, "height": 640}, color_scheme=scheme, bypass_csp=True)
        page.goto(f"file://{tmp_path}/page.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert (page.evaluate(BRIGHTNESS) > 128) == (scheme == "light")
        assert page.title() == "x" * 80
        assert page.evaluate("document.scripts.length") == 0
        found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
        assert [one["id"] for one in found] == []
        running.close()
