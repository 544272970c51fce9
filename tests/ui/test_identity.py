import stat
from pathlib import Path

import pytest

from cmo.ui.identity import Guests, kept_secret

SECRET = b"s" * 64


def cookie_header(set_cookie: str) -> str:
    return set_cookie.split(";", 1)[0]


def test_a_guest_is_recognised_by_their_cookie() -> None:
    guests = Guests(SECRET)
    cookie = cookie_header(guests.new_cookie(secure=False))
    user_id = guests.user_id(f"theme=dark; {cookie}")
    assert user_id is not None
    assert user_id.startswith("guest-")
    assert user_id == Guests(SECRET).user_id(cookie)


def test_every_guest_is_another() -> None:
    guests = Guests(SECRET)
    assert guests.new_cookie(secure=False) != guests.new_cookie(secure=False)


@pytest.mark.parametrize("change", ["name", "signature", "secret"])
def test_a_forged_cookie_is_not_recognised(change: str) -> None:
    name, value = cookie_header(Guests(SECRET).new_cookie(secure=False)).split("=")
    guest, signature = value.split(".")
    forged = {
        "name": f"{name}={'0' * 32}.{signature}",
        "signature": f"{name}={guest}.{'0' * 64}",
        "secret": f"{name}={value}",
    }[change]
    guests = Guests(b"t" * 64) if change == "secret" else Guests(SECRET)
    assert guests.user_id(forged) is None


@pytest.mark.parametrize("header", ["", "a", "cmo_guest=", "cmo_guest=x.y", "=;=;"])
def test_other_cookies_are_nobody(header: str) -> None:
    assert Guests(SECRET).user_id(header) is None


def test_libraries_on_one_host_have_cookies_of_their_own() -> None:
    names = {Guests(secret).new_cookie(secure=False).split("=")[0] for secret in (b"a" * 64, b"b" * 64)}
    assert len(names) == 2


def test_scripts_cannot_read_the_cookie() -> None:
    cookie = Guests(SECRET).new_cookie(secure=True)
    assert "; HttpOnly" in cookie
    assert "; SameSite=Lax" in cookie
    assert cookie.endswith("; Secure")
    assert "Secure" not in Guests(SECRET).new_cookie(secure=False)


def test_the_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "storage" / ".secret"
    secret = kept_secret(file)
    assert len(secret) == 64
    assert kept_secret(file) == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_empty_secret_is_refused(tmp_path: Path) -> None:
    file = tmp_path / ".secret"
    file.write_text("")
    with pytest.raises(OSError, match="delete it"):
        kept_secret(file)
