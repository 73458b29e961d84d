"""Why a request is taken or refused, step by step, and what would make it fit.

Judged by the code of ingest itself; what fails is tried again with one thing changed (the body, the
key, the address, the form), and what fits then says what went wrong on the way. Neither a secret's
value nor a signature, received or computed, is ever part of a finding.
"""

from hookpost.core.diagnosis.findings import Diagnosis, Hint, Result, Step
from hookpost.core.diagnosis.request import diagnose

__all__ = ["Diagnosis", "Hint", "Result", "Step", "diagnose"]
