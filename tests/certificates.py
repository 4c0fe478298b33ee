"""Certificates for tests of TLS, made with the openssl command: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"


@dataclass(frozen=True)
class Signed:
    """PEM files: the key, the certificate, and both in one (what a broker wants)."""

    key: Path
    cert: Path
    both: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates into its folder; `cert` is what the other side is told to trust."""

    folder: Path
    key: Path
    cert: Path

    @classmethod
    def made_in(cls, folder: Path) -> Authority:
        folder.mkdir(parents=True, exist_ok=True)
        key, cert = folder / "ca.key", folder / "ca.pem"
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN=authority {folder.name}",
            "-keyout", str(key), "-out", str(cert),
        )  # fmt: skip
        return cls(folder, key, cert)

    def sign(self, name: str, host: str = "localhost", password: str = "") -> Signed:
        """A certificate for CN=`name`, good for `host`; the key is encrypted if there is a `password`."""
        key, request, cert = (self.folder / f"{name}{end}" for end in (".key", ".csr", ".pem"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{host}\n")
        hidden = ("-passout", f"pass:{password}") if password else ("-nodes",)
        _openssl(
            "req", "-new", "-newkey", "rsa:2048", *hidden, "-subj", f"/CN={name}", "-keyout", str(key),
            "-out", str(request),
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.cert), "-CAkey", str(self.key), "-CAcreateserial",
            "-days", "2", "-extfile", str(extensions), "-out", str(cert),
        )  # fmt: skip
        both = self.folder / f"{name}-both.pem"
        both.write_text(key.read_text() + cert.read_text())
        return Signed(key, cert, both)
