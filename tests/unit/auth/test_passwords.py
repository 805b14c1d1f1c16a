"""Passwords: which are common, and how they are stored."""

import string
import unicodedata

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from services.auth.errors import PasswordTooCommon
from services.auth.rules import passwords


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PASSWORD",
        "Password1",
        "P@ssw0rd1",
        "Sunshine2024!",
        "123letmein456",
        "iloveyou",
        "trustno1",
        "12345678",
        "0987654321",
        "11111111",
        "abcabcabc",
        "1212121212",
        "abcdefgh",
        "qwertyuiop",
        "1234qwer",
        "asdf1234",
        "1q2w3e4r5t",
        "1qaz2wsx",
        "zxcvbnm123",
        "Focusmesh1",
    ],
)
def test_what_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(PasswordTooCommon) as refused:
        passwords.require_uncommon(password)
    assert [violation.field for violation in refused.value.fields] == ["password"]


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "buy-groceries-7",
        "zxqv-31-kfwt",
        "Ein langer Satz.",
        "пароль моего кота",
        "🐢🐇🦊🐻🐼🐨🐯🦁",
    ],
)
def test_what_a_person_thought_of_is_taken(password: str) -> None:
    passwords.require_uncommon(password)


@given(st.text(string.ascii_letters + string.digits + string.punctuation, min_size=8, max_size=128))
def test_signs_of_another_case_do_not_make_a_password_less_common(password: str) -> None:
    assert passwords.common(password) == passwords.common(password.swapcase())


@given(st.text(string.printable, min_size=1, max_size=4), st.integers(3, 40))
def test_something_short_repeated_is_common_whatever_it_is(unit: str, times: int) -> None:
    assert passwords.common(unit * times)


@given(st.text(max_size=128))
def test_every_text_is_either_common_or_not(password: str) -> None:
    assert passwords.common(password) in {True, False}


def test_a_password_is_stored_as_argon2id_with_19_mib_two_passes_and_one_lane() -> None:
    assert passwords.hash_password("correct horse").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_only_the_whole_password_opens_the_hash() -> None:
    long = "x" * 127 + "y"
    stored = passwords.hash_password(long)
    assert passwords.verify(stored, long)
    assert not passwords.verify(stored, long[:-1])
    assert not passwords.verify(stored, long[:-1] + "z")


def test_an_accent_typed_as_one_character_or_as_two_is_the_same_password() -> None:
    composed = "caf\u00e9 au lait"
    assert passwords.verify(passwords.hash_password(composed), unicodedata.normalize("NFD", composed))


def test_a_hash_of_other_parameters_is_outdated_and_still_opens() -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("correct horse")
    assert passwords.verify(old, "correct horse")
    assert passwords.outdated(old)
    assert not passwords.outdated(passwords.hash_password("correct horse"))


def test_the_decoy_costs_what_a_real_hash_costs_and_opens_for_nothing() -> None:
    decoy = passwords.decoy()
    assert decoy.rsplit("$", 2)[0] == passwords.hash_password("correct horse").rsplit("$", 2)[0]
    assert not passwords.verify(decoy, "correct horse")


def test_a_damaged_hash_opens_for_nothing() -> None:
    assert not passwords.verify("not a hash", "correct horse")


def test_a_password_that_is_short_once_its_accents_are_composed_is_refused() -> None:
    accents = unicodedata.normalize("NFD", "\u00e9\u00e1\u00f3\u00fa")
    assert len(accents) == 8
    with pytest.raises(PasswordTooCommon):
        passwords.require_uncommon(accents)
