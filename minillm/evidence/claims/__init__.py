"""The claims ledger: every checkable claim of an article on LLM inference, computed or run, and judged by code.

One file for each section of the article, one function for each claim. A function's arguments are the inputs that a
reader may vary; it returns a Finding. A claim is judged as the article states it, with the article's own numbers.
Unless a claim says otherwise, 7B is Llama-2-7B in float16 and an A100 is the SXM card with 80 GB. Times are roofline
lower bounds at the datasheet's peak, without sparsity. Claims that need an experiment import the engine and run it.
"""

from importlib import import_module

from minillm.evidence.claims.ledger import Claim, Finding, Verdict
from minillm.evidence.lookup import find_entry

__all__ = ["Claim", "Finding", "Verdict", "all_claims", "find_claim"]


SECTIONS = (
    "overview training prefill decode kv_cache batching attention speculative hardware latency cost optimization faq"
).split()


def all_claims() -> list[Claim]:
    """Return every claim, in the article's order."""
    modules = [import_module(f"minillm.evidence.claims.{name}") for name in SECTIONS]
    return [claim for module in modules for claim in module.section.claims]


def find_claim(id: str) -> Claim:
    """Return the claim with this id.

    Raises:
        ValueError: the id does not exist; the message names the closest one.
    """
    return find_entry(id, all_claims(), "claim", "minillm claims")
