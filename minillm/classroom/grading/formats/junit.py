"""JUnit XML: one test suite for each learner, one test case for each row. Most CI systems show it."""

import re
from xml.etree import ElementTree

from minillm.classroom.grading.feedback import details
from minillm.classroom.grading.result import CRASHED, NOT_HANDED_IN, REFUSED, TIMED_OUT, Result, Row

ERRORS = (CRASHED, TIMED_OUT, REFUSED)
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2


def junit(results: list[Result]) -> str:
    """Return the XML text."""
    root = ElementTree.Element("testsuites", name="minillm grade")
    for result in results:
        counts = {"tests": result.rows, "failures": [], "errors": [], "skipped": []}
        suite = ElementTree.SubElement(root, "testsuite", name=clean(result.learner))
        for row in result.rows:
            kind = _add(suite, result, row)
            if kind:
                counts[kind] = [*counts[kind], row]
        suite.attrib.update({kind: str(len(rows)) for kind, rows in counts.items()})
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add(suite: ElementTree.Element, result: Result, row: Row) -> str:
    """Add a row to its suite. Return which of the suite's counts it belongs to, or an empty string if it passed."""
    name, group = clean(f"{row.check}: {row.title}"), clean(f"{result.learner}.{row.exercise}")
    case = ElementTree.SubElement(suite, "testcase", name=name, classname=group)
    if row.passed:
        return ""
    kind = "skipped" if row.outcome == NOT_HANDED_IN else "error" if row.outcome in ERRORS else "failure"
    ElementTree.SubElement(case, kind, message=clean(row.message)).text = clean(details(row))
    return {"skipped": "skipped", "error": "errors", "failure": "failures"}[kind]


def clean(text: str) -> str:
    """Return the text with a question mark in place of each character that XML does not allow."""
    return NOT_IN_XML.sub("?", text)
