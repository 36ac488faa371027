"""Truth values and numbers."""

from __future__ import annotations

import re

from consul_nginx.registrar.keys import Values
from consul_nginx.registrar.warnings import invalid

# As Go reads them.
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})

_NUMBER = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_MAX = 65535


def truth(values: Values, word: str) -> bool:
    """Whether a key is true; it is false when it is not given. Raises ``Refused``."""
    key = values.given(word)
    if key is None or key.value in _FALSE:
        return False
    if key.value not in _TRUE:
        raise invalid(key.written, key.value, "neither true nor false; write one of them")
    return True


def number(values: Values, word: str) -> int | None:
    """A number from 1 to 65535, None when it is not given. Raises ``Refused``."""
    key = values.given(word)
    if key is None:
        return None
    if not _NUMBER.fullmatch(key.value) or int(key.value) > _MAX:
        raise invalid(key.written, key.value, f"not a whole number from 1 to {_MAX}")
    return int(key.value)
