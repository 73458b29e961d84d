"""A listener's certificate is judged when the file is checked; what is wrong names the file."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from tests import certificates
from tests.certificates import FUTURE, PAST

from hookpost.config import Loaded, shown

Write = Callable[..., Loaded]
TEXT = "version: 1\nlisten: {ingest: {tls: {cert: cert.pem, key: key.pem%s}}}\n"
WITH_CA = TEXT % ", client_ca: ca.pem"
WITHOUT = TEXT % ""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    certificates.write(tmp_path, authority, not_after=FUTURE)
    return tmp_path


def test_a_certificate_becomes_a_context_of_tls_1_2_or_newer(loading: Write, folder: Path) -> None:
    loaded = loading(WITHOUT)
    tls = loaded.sound().listen.ingest.tls
    assert loaded.diagnostics == ()
    assert tls is not None
    assert (tls.cert, tls.key, tls.client_ca) == (folder / "cert.pem", folder / "key.pem", None)
    assert isinstance(tls.context, ssl.SSLContext)
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls.context.verify_mode is ssl.CERT_NONE
    assert "digest" not in repr(tls)


def test_with_a_client_ca_certificates_are_demanded(loading: Write, folder: Path) -> None:
    tls = loading(WITH_CA).sound().listen.ingest.tls
    assert tls is not None
    assert tls.client_ca == folder / "ca.pem"
    assert tls.context.verify_mode is ssl.CERT_REQUIRED


def test_key_and_certificate_may_stand_in_one_file(loading: Write, folder: Path) -> None:
    whole = (folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes()
    certificates.put(folder / "cert.pem", whole)
    loaded = loading(WITHOUT.replace("key.pem", "cert.pem"))
    assert loaded.diagnostics == ()


def test_new_contents_are_another_configuration(
    loading: Write, folder: Path, authority: trustme.CA
) -> None:
    first, again = loading(WITH_CA).sound(), loading(WITH_CA).sound()
    assert (first.fingerprint, first.listen) == (again.fingerprint, again.listen)
    for name in ("cert.pem", "key.pem", "ca.pem"):
        kept = {file: file.read_bytes() for file in folder.glob("*.pem")}
        certificates.put(folder / name, kept[folder / name] + b"\n")
        changed = loading(WITH_CA).sound()
        assert changed.fingerprint != first.fingerprint
        assert changed.listen != first.listen
        assert changed.hash == first.hash, "which is published, and covers the file alone"
        certificates.put(folder / name, kept[folder / name])


def test_without_secrets_the_files_are_not_looked_at(loading: Write) -> None:
    loaded = loading(WITH_CA, secrets="skip")
    assert loaded.diagnostics == ()
    assert loaded.sound().listen.ingest.tls is None


def test_effective_shows_where_the_files_are(loading: Write, folder: Path) -> None:
    assert f"client_ca: {folder}/ca.pem" in shown(loading(WITH_CA), effective=True)
    assert "tls" not in shown(loading("version: 1\n"), effective=True)


@pytest.mark.parametrize(
    ("name", "content", "key", "code", "says"),
    [
        ("cert.pem", None, "cert", "no-such-file", "there is no file {}"),
        ("key.pem", None, "key", "no-such-file", "there is no file {}"),
        ("ca.pem", None, "client_ca", "no-such-file", "there is no file {}"),
        ("cert.pem", b"", "cert", "bad-certificate", "{} holds no certificate in PEM"),
        ("cert.pem", b"\xff\xfe", "cert", "not-utf8", "{} is not text; write it as PEM"),
        ("cert.pem", b" " * (1 << 20), "cert", "bad-certificate", "{} holds no certificate"),
        ("cert.pem", b" " * (1 << 20) + b" ", "cert", "too-large", "{} is larger than 1 MiB"),
        ("ca.pem", b"nothing", "client_ca", "bad-certificate", "{} holds no certificate in PEM"),
        ("key.pem", b"nothing", "key", "bad-key", "{} holds no private key in PEM"),
        ("key.pem", "other", "key", "bad-key", "{} is not the key of the first certificate in"),
        ("key.pem", "encrypted", "key", "bad-key", "{} is encrypted, and there is nobody to ask"),
    ],
)
def test_a_file_that_does_not_do_is_named_at_its_key(
    loading: Write, folder: Path, name: str, content: object, key: str, code: str, says: str
) -> None:
    match content:
        case None:
            (folder / name).unlink()
        case bytes():
            certificates.put(folder / name, content)
        case "other":
            other = trustme.CA().issue_cert("other.example").private_key_pem.bytes()
            certificates.put(folder / name, other)
        case "encrypted":
            certificates.put(folder / name, encrypted((folder / name).read_bytes()))

    (mistake,) = loading(WITH_CA).errors

    assert mistake.path == f"listen.ingest.tls.{key}"
    assert mistake.code == code
    assert says.format(folder / name) in mistake.message


def encrypted(pem: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_pem_private_key(pem, None)
    sealed = form.BestAvailableEncryption(b"hunter2")
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, sealed)


@pytest.mark.parametrize(
    ("validity", "says"),
    [
        ({"not_before": PAST, "not_after": PAST}, "ended at 2020-01-01T00:00:00Z"),
        ({"not_before": FUTURE, "not_after": FUTURE}, "begins at 2090-01-01T00:00:00Z"),
    ],
)
def test_a_certificate_outside_its_time_is_a_warning(
    loading: Write, tmp_path: Path, authority: trustme.CA, validity: dict[str, object], says: str
) -> None:
    certificates.write(tmp_path, authority, **validity)  # type: ignore[arg-type]
    loaded = loading(WITHOUT)
    (warning,) = loaded.warnings
    assert loaded.errors == ()
    assert warning.code == "certificate-not-valid"
    assert f"a certificate in {tmp_path}/cert.pem {says}" in warning.message


def test_a_key_that_everybody_may_read_is_a_warning(loading: Write, folder: Path) -> None:
    (folder / "key.pem").chmod(0o644)
    (warning,) = loading(WITHOUT).warnings
    assert (warning.path, warning.code) == ("listen.ingest.tls.key", "exposed-secret")
    assert "chmod 600" in warning.message


def test_a_certificate_without_its_key_is_a_mistake(loading: Write, folder: Path) -> None:
    (mistake,) = loading("version: 1\nlisten: {ingest: {tls: {cert: cert.pem}}}\n").errors
    assert mistake.code == "missing-key"
