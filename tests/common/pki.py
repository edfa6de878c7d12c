"""Certificates: authorities, servers with subjects of several parts."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SHORT_NAMES = {
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}
DAY = datetime.timedelta(days=1)


def parse_subject(text: str) -> x509.Name:
    """`C=AU,O=Lab,CN=host` as a name, in that order. The values hold no commas."""
    parts = [part.split("=", 1) for part in text.split(",")]
    return x509.Name([x509.NameAttribute(SHORT_NAMES[k], v) for k, v in parts])


class Authority:
    """A CA of our own."""

    def __init__(self, subject: str = "C=AU,O=Lab,CN=Lab CA"):
        now = datetime.datetime.utcnow()
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = parse_subject(subject)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=False, content_commitment=False, key_encipherment=False,
                    data_encipherment=False, key_agreement=False, key_cert_sign=True,
                    crl_sign=True, encipher_only=False, decipher_only=False,
                ),
                critical=True,
            )
            .sign(self.key, hashes.SHA256())
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, folder: Path, subject: str, *, names=("localhost",), addresses=("127.0.0.1",),
              expired=False, client=False, kind="ec") -> tuple[Path, Path]:
        """A server's (or client's) certificate and key as two files in the folder, which is made.
        kind: of the key, "ec" or "rsa"."""
        now = datetime.datetime.utcnow()
        key = (rsa.generate_private_key(65537, 2048) if kind == "rsa"
               else ec.generate_private_key(ec.SECP256R1()))
        alternatives = [x509.DNSName(n) for n in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
        builder = (
            x509.CertificateBuilder()
            .subject_name(parse_subject(subject))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * DAY)
            .not_valid_after(now + (-DAY if expired else 90 * DAY))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH if client else
                                                  ExtendedKeyUsageOID.SERVER_AUTH]),
                           critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives),
                                            critical=False)
        folder.mkdir(parents=True, exist_ok=True)
        files = folder / "server-cert.pem", folder / "server-key.pem"
        files[0].write_bytes(builder.sign(self.key, hashes.SHA256())
                             .public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        return files

    def x509_dir(self, folder: Path, subject: str, **more) -> Path:
        """The same as a folder that QEMU's x509-dir takes: with the authority beside it."""
        self.issue(folder, subject, **more)
        (folder / "ca-cert.pem").write_text(self.pem)
        return folder

    def server_context(self, folder: Path, subject: str, **more) -> ssl.SSLContext:
        """What a TLS server of this authority needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(folder, subject, **more))
        return context
