"""What a bundle costs on its way into ConfigMaps and out of them.

PYTHONPATH=tests .venv/bin/python -m bench.bundles
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import TypeVar

from consul_nginx.model import encoding
from consul_nginx.model.encoding import decode, encode
from nginx.large import large_bundle

Result = TypeVar("Result")

_RUNS = 5


def best_of(what: Callable[[], Result]) -> tuple[float, Result]:
    """Shortest duration in milliseconds, and the result."""
    took = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        result = what()
        took.append((time.perf_counter() - started) * 1000)
    return min(took), result


def main() -> None:
    """Print a table, ready for docs/measurements.md, and how other levels would compare."""
    print("| upstreams × endpoints | files | form | in etcd | of the files | encode | decode |")
    print("|---|---|---|---|---|---|---|")
    for upstreams in (100, 1000, 5000, 20_000):
        _row(upstreams)
    _levels()


def _row(upstreams: int) -> None:
    bundle = large_bundle(upstreams=upstreams, endpoints=10)
    files = sum(len(name) + len(text) for name, text in bundle.files.items())
    encode_ms, encoded = best_of(lambda: encode(bundle=bundle, revision=1))
    decode_ms, _ = best_of(lambda: decode(main=encoded.main, shards=encoded.shards))
    print(
        f"| {upstreams:,} × 10 | {files / 1000:,.0f} kB | {encoded.manifest.form} "
        f"| {encoded.size / 1000:,.0f} kB | {encoded.size / files:.0%} "
        f"| {encode_ms:.0f} ms | {decode_ms:.0f} ms |"
    )


def _levels() -> None:
    bundle = large_bundle(upstreams=1000, endpoints=10)
    text = "".join(bundle.files.values()).encode()
    at_ours, ours = best_of(lambda: zlib.compress(text, encoding._LEVEL))
    print(f"\nAgainst level {encoding._LEVEL}, 1,000 × 10:")
    for level in (1, 4, 9):
        took, packed = _compressed(text, level)
        size, duration = len(packed) / len(ours), took / at_ours
        print(f"  level {level}: {size:.2f} of the size in {duration:.2f} of the time")


def _compressed(text: bytes, level: int) -> tuple[float, bytes]:
    return best_of(lambda: zlib.compress(text, level))


if __name__ == "__main__":
    main()
