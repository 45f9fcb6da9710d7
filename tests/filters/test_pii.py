from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.corpora.errors import ConfigError
from tamis.filters.pii import KINDS, Find, Kind, Pii, find, is_bank_card, is_id_card, masked
from tamis.filters.scorer import Device, Sample


def id_card(body: str) -> str:
    """Seventeen digits with the check character that GB 11643-1999 gives them."""
    total = sum(int(digit) * pow(2, 17 - at, 11) for at, digit in enumerate(body))
    return body + "0123456789X"[(1 - total) % 11]


def card(body: str) -> str:
    """Digits with Luhn's check digit."""
    total = sum(sum(divmod(int(d) * (2 - at % 2), 10)) for at, d in enumerate(reversed(body)))
    return body + str(-total % 10)


ID = id_card("44010619900307123")
CARD = card("622202123456789012")


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("邮箱abc.d+e@ex-ample.com.cn。", "email", "abc.d+e@ex-ample.com.cn"),
        ("A.B@X.ORG", "email", "A.B@X.ORG"),
        ("电话13812345678。", "phone", "13812345678"),
        ("+86 138-1234-5678", "phone", "+86 138-1234-5678"),
        ("8613812345678", "phone", "8613812345678"),
        ("１３８１２３４５６７８", "phone", "１３８１２３４５６７８"),
        ("座机010-62345678", "phone", "010-62345678"),
        ("(0755) 8234567", "phone", "(0755) 8234567"),
        ("call +49 (30) 123-4567 now", "phone", "+49 (30) 123-4567"),
        ("(212) 555-0123", "phone", "(212) 555-0123"),
        ("212-555-0123", "phone", "212-555-0123"),
        (f"身份证{ID}", "id_card", ID),
        (f"No {id_card('11010519491231002').lower()}!", "id_card", id_card("11010519491231002").lower()),
        (CARD, "bank_card", CARD),
        ("4111-1111-1111-1111", "bank_card", "4111-1111-1111-1111"),
        (f"{CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:16]} {CARD[16:]}", "bank_card", "6222 0212 3456 7890 128"),
        ("at 8.8.4.4:53", "ip", "8.8.4.4"),
        ("2001:4860:4860::8888", "ip", "2001:4860:4860::8888"),
        ("QQ：123456789", "qq", "123456789"),
        ("qq群 98765", "qq", "98765"),
        ("微信号：my_name-1", "wechat", "my_name-1"),
        ("wechat ID: abcdef", "wechat", "abcdef"),
    ],
)
def test_personal_data_is_found_at_its_place(text: str, kind: Kind, found: str) -> None:
    assert [(text[one.start : one.end], one.kind) for one in find(text)] == [(found, kind)]


@pytest.mark.parametrize(
    "text",
    [
        "me@x",
        "@handle a@b.c1",
        "价格 13812345678901 元",
        "12812345678",
        "2022-01-02 12:30:45",
        "1234567",
        "+12",
        ID[:-1] + str((int(ID[-1]) + 1) % 10),  # another check digit
        id_card("99010619900307123"),  # no such province
        id_card("44010619901307123"),  # no such month
        "1" + ID,
        CARD[:-1] + str((int(CARD[-1]) + 1) % 10),
        "0" * 16,
        "4" * 5 + " 1.41421356237309504880",
        "192.168.1.1 10.0.0.1 127.0.0.1 256.1.1.1 1.2.3.4.5 8.8.8.8.8",
        "fe80::1 ::1 12:30:45",
        "QQ 1234",
        "QQ音乐123456789012",
        "微信支付 wechat payments",
        "unique: abcdefgh",
    ],
)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert find(text) == []


def test_check_digits_refuse_most_random_numbers() -> None:
    assert all(is_id_card(id_card(f"44010619900307{order}")) for order in range(100, 200))
    assert sum(is_id_card(f"44010619900307123{digit}") for digit in "0123456789X") == 1
    assert sum(is_bank_card(f"622202123456789012{digit}") for digit in range(10)) == 1
    assert not is_bank_card("4" * 18)


def test_finds_are_told_in_order_and_masked() -> None:
    text = f"张三，{ID}，QQ:123456，mail a@b.cc"
    found = Pii().prepare(Sample({"caption": text}))
    assert found["found"] == ["id_card", "qq", "email"]
    assert [text[a:b] for a, b in zip(found["starts"], found["ends"], strict=True)] == [ID, "123456", "a@b.cc"]
    assert {kind: found[kind] for kind in KINDS if found[kind]} == {"id_card": 1, "qq": 1, "email": 1}
    assert found["total"] == 3
    assert found["masked"] == "张三，<id_card>，QQ:<qq>，mail <email>"


def test_a_text_without_finds_has_no_masked_copy() -> None:
    found = Pii().prepare(Sample({"caption": "two dogs"}))
    assert (found["found"], found["total"], found["masked"]) == ([], 0, None)


def test_only_the_kinds_that_are_asked_for_are_found() -> None:
    scorer = Pii(kinds=("email",))
    found = scorer.prepare(Sample({"caption": "a@b.cc 13812345678"}))
    assert (found["masked"], found["email"]) == ("<email> 13812345678", 1)
    assert "phone" not in {column.name for column in scorer.columns}
    for kinds in ((), ("email", "email")):
        with pytest.raises(ConfigError, match="name each once"):
            Pii(kinds=kinds)


@given(st.text(st.sampled_from("0123456789 -.@+()ab:：QqxX１猫"), max_size=80))
def test_finds_never_overlap_and_masking_leaves_the_rest(text: str) -> None:
    finds = find(text)
    ends = [0, *(one.end for one in finds)]
    assert all(before <= one.start < one.end <= len(text) for before, one in zip(ends, finds, strict=False))
    rest = masked(text, finds)
    for one in finds:
        rest = rest.replace(f"<{one.kind}>", text[one.start : one.end], 1)
    assert rest == text


def test_finds_may_touch() -> None:
    assert [(one.start, one.end) for one in find("vx:abcdef(0755) 8234567")] == [(3, 9), (9, 23)]


def test_masking_puts_kinds_in_place() -> None:
    assert masked("abcdef", [Find(1, 2, "qq"), Find(2, 4, "ip")]) == "a<qq><ip>ef"


@pytest.mark.parametrize("piece", ["a.", "a@", "1 ", "1.", "1-", "(0", "+1", ":", "0", "QQ ", "微信:", "a-", "f:"])
def test_no_text_takes_long(piece: str) -> None:
    started = time.process_time()
    find(piece * 50_000 + "1a@:+")
    assert time.process_time() - started < 20  # a second or two; a pattern that backtracks would take hours


def test_unreadable_places_stay_empty_and_columns_fit_their_types() -> None:
    scorer = Pii()
    found: dict[str, Any] = scorer.prepare(Sample({"caption": "a@b.cc"}))
    scored = scorer.score([None, found], Device())
    for column in scorer.columns:
        assert pa.array(scored[column.name], column.type).is_valid().to_pylist() == [False, True]
