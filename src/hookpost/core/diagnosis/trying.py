"""What would fit: the proof tried again, each time with one thing changed."""

from collections.abc import Iterator
from dataclasses import replace

from hookpost.core.diagnosis import bodies, forms, keys
from hookpost.core.diagnosis.case import Case
from hookpost.core.diagnosis.findings import Diagnosis, life
from hookpost.core.proof import prove_one
from hookpost.core.received import Received
from hookpost.core.scheme import BodySecret, Key, Proof, SignatureScheme, TwilioScheme
from hookpost.core.signature import Unproven

Signed = SignatureScheme | TwilioScheme

_SPOILT = {
    "body-newline": "something on its way, or what saved it, changed its end",
    "body-bom": "something on its way, or what saved it, changed its beginning",
    "body-line-ends": "something on its way, or what saved it, changed the ends of its lines",
    "body-base64": "what saved it wrote it in base64",
    "body-reserialised": "it was re-serialised on its way",
}


def fits(proof: Proof, received: Received, wall: float) -> Key | None:
    """The key with which a proof would hold, if every secret lived and no time were stale."""
    try:
        return prove_one(_relaxed(proof), received, wall)
    except (Unproven, ValueError):  # an address out of a header may be none
        return None


def _relaxed(proof: Proof) -> Proof:
    match proof:
        case BodySecret():
            return replace(proof, secrets=tuple(map(keys.immortal, proof.secrets)))
        case TwilioScheme():
            return replace(proof, keys=tuple(map(_immortal, proof.keys)))
        case SignatureScheme():
            when = proof.timestamp
            if when is not None:  # milliseconds: more digits are taken
                when = replace(when, tolerance=float("inf"), milliseconds=True)
            return replace(proof, keys=tuple(map(_immortal, proof.keys)), timestamp=when)


def _immortal(key: Key) -> Key:
    return replace(key, secret=keys.immortal(key.secret))


def hints(found: Diagnosis, case: Case, proof: Proof) -> None:
    """Add a hint for each kind of change with which the proof holds."""
    key = fits(proof, case.received, case.wall)
    if key is not None:
        secret = keys.secrets_of(case.source)[key.secret.name]
        if not secret.live(case.wall):
            name, over = secret.name, life(secret, case.wall)
            found.hint("secret-not-live", f'it fits the secret "{name}", {over}')
        return
    before = len(found.hints)
    if isinstance(proof, BodySecret):
        _try_texts(found, case, proof)
    else:
        _try_keys(found, case, proof)
        _try_bodies(found, case, proof)
        _try_forms(found, case, proof)
    if len(found.hints) == before:
        found.hint(
            "nothing-fits",
            "nothing that was tried fits (the body written otherwise, the secrets read otherwise, "
            "other secrets of this configuration, other forms): most likely the publisher signs "
            "with a secret that is not here, or the body is not the one that was signed",
        )


def _try_keys(found: Diagnosis, case: Case, proof: Signed) -> None:
    for key in proof.keys:
        for how, value in keys.readings(key.secret.value) if key.check is None else ():
            other = replace(proof, keys=(Key(secret=key.secret, value=value),))
            if value and fits(other, case.received, case.wall):
                message = f'it fits the secret "{key.secret.name}" {how}: say so in key, or mend it'
                found.hint("secret-form", message)
                return
    for key in _foreign(case, proof):
        if fits(replace(proof, keys=(key,)), case.received, case.wall):
            whose = keys.whose(case.config, key.secret.name)
            found.hint("other-secret", f"it is signed with {whose}")
            return


def _foreign(case: Case, proof: Signed) -> Iterator[Key]:
    if isinstance(proof, SignatureScheme) and any(key.check is not None for key in proof.keys):
        yield from keys.foreign_public(case.config, case.source, proof)
        return
    for secret in keys.foreign(case.config, case.source):
        for _, value in keys.readings(secret.value):
            if value:
                yield Key(secret=secret, value=value)


def _try_bodies(found: Diagnosis, case: Case, proof: Signed) -> None:
    if isinstance(proof, SignatureScheme) and not proof.template.uses("body"):
        return
    for code, what, body in bodies.others(case.received.body):
        key = fits(proof, forms.with_body(case.received, body), case.wall)
        if key is not None:
            message = (
                f'it fits the secret "{key.secret.name}" with the body {what}: {_SPOILT[code]}; '
                "the bytes must be passed on, and saved, as they came"
            )
            found.hint(code, message)
            return


def _try_forms(found: Diagnosis, case: Case, proof: Signed) -> None:
    for code, what, other in forms.requests(proof, case.received):
        key = fits(proof, other, case.wall)
        if key is not None:
            found.hint(code, f'a signature {what} would fit the secret "{key.secret.name}"')
            break
    if isinstance(proof, TwilioScheme):
        return
    for code, what, scheme in forms.schemes(proof, case.received):
        key = fits(scheme, case.received, case.wall)
        if key is not None:
            name = key.secret.name
            found.hint(code, f'a signature {what}, is there and fits the secret "{name}"')
            return


def _try_texts(found: Diagnosis, case: Case, proof: BodySecret) -> None:
    for secret in proof.secrets:
        for how, value in keys.readings(secret.value):
            if value and fits(
                replace(proof, secrets=(replace(secret, value=value),)), case.received, case.wall
            ):
                found.hint("secret-form", f'it is the secret "{secret.name}" {how}')
                return
    for secret in keys.foreign(case.config, case.source):
        if fits(replace(proof, secrets=(secret,)), case.received, case.wall):
            found.hint("other-secret", f"it is {keys.whose(case.config, secret.name)}")
            return
