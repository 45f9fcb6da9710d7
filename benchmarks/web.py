"""A web of generated photographs on this machine: nginx over HTTP and HTTPS, with a certificate authority of its own.

Images are 1/f noise with gradients, encoded as JPEG of quality 85: about the entropy of photographs (58 KB at 512 x 384).
A few hundred files serve any number of URLs, which differ in their query.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

NUM_FILES = 200
SLOPE = 1.25
"""Of the noise's spectrum: with 1.0 files are half as large again."""

CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; types {{ image/jpeg jpg; }} keepalive_requests 100000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; root {folder}/www;
    server {{ listen 127.0.0.1:{http} backlog=2048; }}
    server {{
        listen 127.0.0.1:{https} ssl {protocol} backlog=2048;
        ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    }}
}}
"""


@dataclass(frozen=True)
class Web:
    """A running server: its folder, its base URLs, and the certificates that clients should trust."""

    folder: Path
    http: str
    https: str
    authorities: Path

    def write_list(self, path: Path, base: str, kind: str, num_urls: int) -> Path:
        """A parquet list of ``num_urls`` URLs of one kind of image."""
        urls = [f"{base}/{kind}/{number % NUM_FILES:04d}.jpg?n={number}" for number in range(num_urls)]
        captions = [f"a photograph of the usual sort, number {number}" for number in range(num_urls)]
        pq.write_table(pa.table({"URL": urls, "TEXT": captions}), path)
        return path


def photograph(rng: np.random.Generator, width: int, height: int) -> bytes:
    """A JPEG of coloured 1/f noise over a gradient."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width, 3)), axes=(0, 1))
    rows, columns = np.fft.fftfreq(height)[:, None, None], np.fft.rfftfreq(width)[None, :, None]
    spectrum /= np.maximum(np.hypot(rows, columns), 1 / max(width, height)) ** SLOPE
    noise = np.fft.irfft2(spectrum, (height, width), axes=(0, 1))
    slope = np.linspace(-40, 40, width)[None, :, None] * rng.standard_normal(3)
    pixels = np.clip(128 + 45 * noise / noise.std() + slope, 0, 255).astype(np.uint8)
    return bytes(simplejpeg.encode_jpeg(pixels, 85, colorspace="RGB", colorsubsampling="420"))


def draw(folder: Path, kind: str, width: int, height: int) -> float:
    """Fill ``folder/www/kind`` with images, unless they are there; their mean size in bytes."""
    place = folder / "www" / kind
    if not (place / "made").exists():
        place.mkdir(parents=True, exist_ok=True)
        for number in range(NUM_FILES):
            rng = np.random.default_rng([width, number])
            (place / f"{number:04d}.jpg").write_bytes(photograph(rng, width, height))
        (place / "made").touch()
    return float(np.mean([path.stat().st_size for path in place.glob("*.jpg")]))


@contextmanager
def serving(folder: Path, http_2: bool = False) -> Iterator[Web]:
    """Serve ``folder/www`` by nginx, one worker.

    Raises:
        SystemExit: there is no nginx.
    """
    if shutil.which("nginx") is None:
        raise SystemExit("this benchmark serves images by nginx, which is not installed")
    _certify(folder)
    http, https = _free_ports(2)
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, http=http, https=https, protocol="http2" if http_2 else ""))
    server = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not _answers(https) and time.monotonic() < until:
            time.sleep(0.05)
        yield Web(folder, f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}", folder / "authorities.pem")
    finally:
        server.terminate()
        server.wait()


def _certify(folder: Path) -> None:
    """An authority and a certificate for 127.0.0.1; trusted beside those that this machine trusts, as on a real one."""
    if (folder / "authorities.pem").exists():
        return
    name = ["-subj", "/CN=tamis benchmark", "-days", "30", "-nodes"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    _openssl(folder, "req", "-x509", *key, *name, "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    _openssl(folder, "req", *key, *name[:2], "-nodes", "-keyout", "server.key", "-out", "server.csr")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "names"]
    _openssl(folder, "x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem")
    known = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    trusted = known.read_bytes() if known.exists() else b""
    (folder / "authorities.pem").write_bytes(trusted + (folder / "ca.pem").read_bytes())


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _free_ports(number: int) -> Sequence[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tree_memory(pid: int) -> tuple[int, int]:
    """Memory of a process and all below it, in bytes: resident (shared pages counted for each), and its fair share."""
    resident = share = 0
    for process in _tree(pid):
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        except OSError:  # it has ended
            continue
        fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
        resident += 1024 * int(fields["Rss"].split()[0])
        share += 1024 * int(fields["Pss"].split()[0])
    return resident, share


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    except OSError:  # it, or one of its threads, has ended
        children = []
    for child in children:
        yield from _tree(int(child))


def environment(web: Web) -> dict[str, str]:
    """What both sides run with: the authorities, and no look-up of new versions at their start."""
    return {**os.environ, "SSL_CERT_FILE": str(web.authorities), "NO_ALBUMENTATIONS_UPDATE": "1"}
