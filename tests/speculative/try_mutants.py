"""Prints, for each mutant, how the proofs failed; "" if they did not. Outside pytest: the shape checker takes long."""

import json

from mutants import MUTANTS, mutated, prove

from minillm.speculative import rounds as speculative


def verdict(mutation):
    with mutated(*mutation) as module:
        try:
            prove(module)
        except Exception as failure:
            return f"{type(failure).__name__}: {failure}"[:200] or "failed"
    return ""


if __name__ == "__main__":
    unchanged = (speculative, "number * q[token] < p[token]", "number * q[token] < p[token]")
    print(json.dumps({"none": verdict(unchanged)} | {name: verdict(each) for name, each in MUTANTS.items()}))
