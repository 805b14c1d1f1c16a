"""Passwords: which are too common, and how they are hashed.

argon2id with 19 MiB, two passes and one lane. No character is cut off: the contract allows 8 to 128 characters.
"""

import secrets
import unicodedata
from importlib.resources import files

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mesh.runtime.errors import FieldViolation
from services.auth.errors import PasswordTooCommon

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

_WORDS = frozenset((files("services.auth.rules") / "common_passwords.txt").read_text(encoding="utf-8").split())
_SHORTEST = 8
"""Characters, as the contract says; it counts a letter and its accent as two."""
_LONGEST_DECORATION = 6
"""Digits and signs around a common word that do not make it better, as in `Sunshine2024!`."""
_LONGEST_REPEATED = 4
_SHORTEST_RUN = 3
_MOST_RUNS = 3
_TRACKS = tuple(
    direction
    for track in (
        "abcdefghijklmnopqrstuvwxyz",
        "01234567890",
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
        "qwertzuiop",
        "azertyuiop",
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
        "qazwsxedcrfvtgbyhnujm",
        "1q2w3e4r5t6y7u8i9o0p",
        "q1w2e3r4t5y6u7i8o9p0",
        "!@#$%^&*()",
        "147258369",
        "741852963",
    )
    for direction in (track, track[::-1])
)
_PLAIN_LETTERS = str.maketrans("01345789@$!", "oieastbgasi")


def require_uncommon(password: str) -> None:
    """Raises PasswordTooCommon for a `common` password, and for one that is too short once it is composed."""
    if len(_normal(password)) < _SHORTEST or common(password):
        raise PasswordTooCommon(fields=[FieldViolation("password", "must not be one of the most common passwords")])


def common(password: str) -> bool:
    """Whether it is a common word, one with digits around it, something short repeated, or runs along a keyboard."""
    folded = _normal(password).casefold()
    return _is_decorated_word(folded) or _is_repeated(folded) or _is_runs(folded)


def hash_password(password: str) -> str:
    """The argon2id hash, with its parameters and salt; costs about 20 ms and 19 MiB."""
    return _HASHER.hash(_normal(password))


def verify(password_hash: str, password: str) -> bool:
    """Whether the hash was made of this password; costs as much as making it."""
    try:
        return _HASHER.verify(password_hash, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def outdated(password_hash: str) -> bool:
    """Whether it was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


def decoy() -> str:
    """A hash that no password has: an unknown e-mail address is checked against it, at the same cost."""
    return _HASHER.hash(secrets.token_bytes(32))


def _normal(password: str) -> str:
    """The same text from every keyboard: an accented letter may come as one character or as two."""
    return unicodedata.normalize("NFKC", password)


def _is_decorated_word(folded: str) -> bool:
    if folded in _WORDS or folded.translate(_PLAIN_LETTERS) in _WORDS:
        return True
    start, end = 0, len(folded)
    while start < end and not folded[start].isalpha():
        start += 1
    while end > start and not folded[end - 1].isalpha():
        end -= 1
    if not 0 < start + len(folded) - end <= _LONGEST_DECORATION:
        return False
    word = folded[start:end]
    return word in _WORDS or word.translate(_PLAIN_LETTERS) in _WORDS


def _is_repeated(folded: str) -> bool:
    return any(
        len(folded) > size and all(letter == folded[index % size] for index, letter in enumerate(folded))
        for size in range(1, _LONGEST_REPEATED + 1)
    )


def _is_runs(folded: str) -> bool:
    """Whether it is nothing but up to three runs along the alphabet, the digits or a keyboard, as `1234qwer`."""
    index, runs = 0, 0
    while index < len(folded):
        longest = max(_run_along(folded, index, track) for track in _TRACKS)
        if longest < _SHORTEST_RUN or runs == _MOST_RUNS:
            return False
        index, runs = index + longest, runs + 1
    return True


def _run_along(folded: str, index: int, track: str) -> int:
    """How many characters from `index` on follow one another on the track."""
    start = track.find(folded[index])
    if start < 0:
        return 0
    size = 1
    while index + size < len(folded) and track[start + size : start + size + 1] == folded[index + size]:
        size += 1
    return size
