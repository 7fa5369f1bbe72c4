"""What Gradescope and Classroom 50 publish about their results, as a table that `problems` checks a value against.

Sources: gradescope-autograders.readthedocs.io/en/latest/specs, "Output format"; schemas/result-v1.schema.json of
foundation50/classroom50. A schema is a type, a set of allowed values, a compiled pattern, [schema of the items], or
{key: schema}; a key that ends in ? is optional, and no other keys are allowed.
"""

import re

NUMBER = (int, float)
FORMATS = {"text", "html", "simple_format", "md", "ansi"}
VISIBILITY = {"hidden", "after_due_date", "after_published", "visible"}
GRADESCOPE_TEST = {
    "score?": NUMBER, "max_score?": NUMBER, "status?": {"passed", "failed"}, "name?": str, "name_format?": FORMATS,
    "number?": str, "output?": str, "output_format?": FORMATS, "tags?": [str], "visibility?": VISIBILITY,
    "extra_data?": dict,
}  # fmt: skip
GRADESCOPE = {
    "score?": NUMBER, "execution_time?": NUMBER, "output?": str, "output_format?": FORMATS,
    "test_output_format?": FORMATS, "test_name_format?": FORMATS, "visibility?": VISIBILITY,
    "stdout_visibility?": VISIBILITY, "extra_data?": dict, "tests": [GRADESCOPE_TEST], "leaderboard?": [dict],
}  # fmt: skip
SOME = re.compile(r".+")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CLASSROOM50_TEST = {"test-name": SOME, "passed": bool, "score": int, "max-score": int, "output?": str}
CLASSROOM50 = {
    "schema": {"classroom50/result/v1"}, "classroom": SOME, "assignment": SOME, "owner": SOME, "commit": SOME,
    "release": SOME, "review": SOME, "assignment_type": {"individual", "group", "team"},
    "submission": re.compile("submit/.*"), "datetime": TIME, "graded_at?": TIME, "score": int, "max-score": int,
    "submitted_by?": dict, "tests": [CLASSROOM50_TEST],
}  # fmt: skip
STAMPED = {"owner": "ada", "assignment_type": "individual", "datetime": "2026-12-10T22:59:00Z"}  # by the runner


def problems(value, schema, path="result"):
    """What is wrong with a value, one line each."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{path} is not an object"]
        known = {key.rstrip("?"): one for key, one in schema.items()}
        wrong = [f"{path} has the key {key}" for key in value if key not in known]
        wrong += [f"{path} lacks {key}" for key in schema if not key.endswith("?") and key not in value]
        return wrong + [
            line for key in value if key in known for line in problems(value[key], known[key], f"{path}.{key}")
        ]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{path} is not a list"]
        return [line for n, item in enumerate(value) for line in problems(item, schema[0], f"{path}[{n}]")]
    if isinstance(schema, set):
        return [] if value in schema else [f"{path} is {value!r}"]
    if isinstance(schema, re.Pattern):
        return [] if isinstance(value, str) and schema.fullmatch(value) else [f"{path} is {value!r}"]
    fits = isinstance(value, schema) and (schema is bool or not isinstance(value, bool))
    return [] if fits else [f"{path} is {value!r}"]
