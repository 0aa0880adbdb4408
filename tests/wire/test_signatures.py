import pytest
from hypothesis import given
from hypothesis import strategies as st

from trove_agents.wire.signatures import BadSignature, sign, verify

# Computed with: printf '1760000000.{"id":"evt-1"}' | openssl dgst -sha256 -hmac trove-whsec-00
KNOWN = ("trove-whsec-00", b'{"id":"evt-1"}', 1_760_000_000)


def test_a_known_signature() -> None:
    secret, body, at = KNOWN
    assert (
        sign(secret, body, at=at)
        == "t=1760000000,v1=2b2cbd080a17eeedb38a5aa01f2fe590e5ff306004dad8f606ed6b2943c35941"
    )


@given(st.text(st.characters(exclude_categories=("Cs",))), st.binary(), st.integers(0, 2**40))
def test_what_is_signed_is_accepted_and_nothing_else(secret: str, body: bytes, at: int) -> None:
    header = sign(secret, body, at=at)
    verify(secret, body, header, now=at)
    for other in ((secret + "x", body, header), (secret, body + b"x", header)):
        with pytest.raises(BadSignature, match="mismatch"):
            verify(*other, now=at)


def test_pairs_come_in_any_order_among_others() -> None:
    digest = sign("s", b"b", at=7).partition("v1=")[2]
    for header in (f"v1={digest},t=7", f" t = 7 , v1 = {digest} ", f"v2=x,,odd,t=7,v1=00,v1={digest}"):
        verify("s", b"b", header, now=7)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "Missing X-Trove-Signature"),
        ("nothing", "invalid `t`"),
        ("v1=00", "invalid `t`"),
        ("t=,v1=00", "invalid `t`"),
        ("t=x,v1=00", "invalid `t`"),
        ("t=1.5,v1=00", "invalid `t`"),
        ("t=\u0663,v1=00", "invalid `t`"),
        ("t=7", "Missing `v1`"),
        ("t=7,v1=", "mismatch"),
        ("t=7,v1=\u00e4", "mismatch"),
        ("t=7,v1=" + "0" * 64, "mismatch"),
        ("t=-7,v1=00", "outside tolerance"),
    ],
)
def test_what_is_wrong_is_said(header: str, reason: str) -> None:
    with pytest.raises(BadSignature, match=reason):
        verify("s", b"b", header, now=7, tolerance=10)


@pytest.mark.parametrize(
    ("now", "accepted"), [(700.0, True), (1000.9, True), (400.0, True), (1001.0, False), (399.0, False)]
)
def test_the_clock_may_be_five_minutes_off_either_way(now: float, accepted: bool) -> None:
    header = sign("s", b"b", at=700)
    if accepted:
        verify("s", b"b", header, now=now)
    else:
        with pytest.raises(BadSignature, match=r"outside tolerance \(301s > 300s\)"):
            verify("s", b"b", header, now=now)
