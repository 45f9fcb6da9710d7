"""Each published rule has a document that passes it and one that just fails; each pattern has lines that it knows."""

from __future__ import annotations

import itertools
import string
from typing import Any

import duckdb
import pytest

from tamis.filters.rules.document import Document
from tamis.filters.rules.profile import load_profile, profile_names


def words(count: int, length: int = 4) -> list[str]:
    """Distinct words of one length."""
    letters = itertools.product(string.ascii_lowercase, repeat=length)
    return ["".join(word) for word in itertools.islice(letters, count)]


def plain(count: int, length: int = 4) -> str:
    return " ".join(words(count, length))


def han(count: int) -> str:
    """Distinct Han characters."""
    return "".join(chr(0x4E00 + number) for number in range(count))


def again(n: int, tokens: int, joint: str = " ") -> str:
    """A text in which n tokens occur twice, and nothing else does."""
    parts = words(tokens) if joint else list(han(tokens))
    return joint.join([*parts[: tokens - n], *parts[:n]])


def lines(special: str, count: int, of: int) -> str:
    """``count`` lines that end as told among ``of`` distinct ones."""
    return "\n".join(word + (special if number < count else "") for number, word in enumerate(words(of)))


def bullets(count: int, of: int) -> str:
    return "\n".join(("- " if number < count else "") + word for number, word in enumerate(words(of)))


def repeated_lines(count: int, of: int, joint: str = "\n") -> str:
    """``of`` lines of one length, ``count`` of which are the first one again."""
    distinct = words(of - count)
    return joint.join(distinct + distinct[:1] * count)


Pair = tuple[str, str]

ENGLISH: dict[str, list[Pair]] = {
    "gopher_words": [(plain(50), plain(49)), (plain(100_000), plain(100_001))],
    "gopher_word_length": [(plain(60, 3), plain(60, 3) + " aa"), (plain(60, 10), plain(60, 10) + " " + "a" * 11)],
    "gopher_hashes": [(plain(9) + " #", plain(8) + " #")],
    "gopher_ellipses": [(plain(9) + "...", plain(8) + "..."), (plain(9) + " …", plain(8) + " …")],
    "gopher_bullets": [(bullets(9, 10), bullets(19, 21))],
    "gopher_ellipsis_lines": [(lines("…", 3, 10), lines("...", 4, 13))],
    "gopher_alphabetic": [(plain(8) + " 1 2", plain(7) + " 1 2")],
    "gopher_stop_words": [("the cat and", "the cat AND")],
    "gopher_lines": [(repeated_lines(3, 10), repeated_lines(4, 13))],
    "gopher_line_characters": [(repeated_lines(2, 10), repeated_lines(3, 14))],
    "gopher_paragraphs": [(repeated_lines(3, 10, "\n\n"), repeated_lines(4, 13, "\n \n"))],
    "gopher_paragraph_characters": [(repeated_lines(2, 10, "\n\n"), repeated_lines(3, 14, "\n\n"))],
    "gopher_top_2": [(again(2, 20), again(2, 19))],
    "gopher_top_3": [(again(3, 34), again(3, 33))],
    "gopher_top_4": [(again(4, 50), again(4, 49))],
    "gopher_again_5": [(again(5, 34), again(5, 33))],
    "gopher_again_6": [(again(6, 43), again(6, 42))],
    "gopher_again_7": [(again(7, 54), again(7, 53))],
    "gopher_again_8": [(again(8, 67), again(8, 66))],
    "gopher_again_9": [(again(9, 82), again(9, 81))],
    "gopher_again_10": [(again(10, 100), again(10, 99))],
    "c4_ended_sentences": [
        ("The cat sat.\n" * 5, "The cat sat.\n" * 4 + "The cat sat"),
        ("It is so. It is! Is it? Yes. No.", "It is so. It is! Is it? Yes, no..."),
        ("The cat sat.\n" * 5, "The cat sat.\n" * 4 + "She uses cookies."),
        ("The cat sat.\n" * 5, "The cat sat.\n" * 4 + "The " + "c" * 1001 + " sat."),
    ],
    "c4_sentences": [
        ("The cat sat\n" * 5, "The cat sat\n" * 4 + "A cat"),
        ("A b c\n" * 5, "A b c\n" * 4 + "JavaScript is on"),
    ],
    "c4_lorem_ipsum": [("ipsum lorem", "Lorem Ipsum dolor")],
    "c4_curly_brackets": [("a }", "a {")],
    "fineweb_punctuated": [(lines(".", 3, 25), lines(".", 2, 17))],
    "fineweb_short_lines": [
        ("\n".join(["a" * 30] * 67 + ["a" * 31] * 33), "\n".join(["a" * 30] * 68 + ["a" * 31] * 33))
    ],
    "fineweb_line_characters": [(repeated_lines(1, 100), repeated_lines(1, 99))],
    "fineweb_list": [(f"a\nb\nc\n{plain(7)}", f"a\nb\nc\nd\n{plain(9)}")],
    "mc4_long_lines": [("\n".join(["a" * 200] * 3), "\n".join(["a" * 200] * 2 + ["a" * 199]))],
}

CHINESE: dict[str, list[Pair]] = {
    "fineweb2_alphabetic": [(han(147) + " 1" * 53, han(146) + " 1" * 54)],
    "fineweb2_stop_words": [("他的猫", "它的猫")],
    "fineweb2_punctuated": [(lines("。", 53, 500), lines("。", 52, 500))],
    "fineweb2_list": [("\n".join(han(8)) + "\n" + han(72), "\n".join(han(9)) + "\n" + han(71))],
    "fineweb2_lines": [(repeated_lines(287, 1000), repeated_lines(288, 1000))],
    "fineweb2_line_characters": [(repeated_lines(1, 10), repeated_lines(1, 9))],
    "fineweb2_top_2": [(again(3, 24, ""), again(3, 23, ""))],
    "fineweb2_top_3": [(again(5, 50, ""), again(5, 49, ""))],
    "fineweb2_top_4": [(again(6, 71, ""), again(6, 70, ""))],
    "fineweb2_again_5": [(again(8, 41, ""), again(8, 40, ""))],
    "fineweb2_again_6": [(again(10, 55, ""), again(10, 54, ""))],
    "fineweb2_again_7": [(again(11, 66, ""), again(11, 65, ""))],
    "fineweb2_again_8": [(again(13, 85, ""), again(13, 84, ""))],
    "fineweb2_again_9": [(again(14, 100, ""), again(14, 99, ""))],
    "fineweb2_again_10": [(again(16, 126, ""), again(16, 125, ""))],
    "chinesewebtext_long": [(han(201), han(200))],
    "chinesewebtext_lines": [(f"{han(11)}\n{han(9)}", f"{han(10)}\n{han(9)}")],
    "chinesewebtext_han": [(han(3) + " abcdefg", han(3) + " abcdefgh")],
    "chinesewebtext_again": [(han(13) * 2, han(13) * 3)],
    "map_cc_sentences": [("好。好！", "好，好。")],
    "map_cc_characters": [(han(50), han(49)), (han(10_000), han(10_001))],
    "map_cc_hashes": [(han(9) + "#", han(8) + "#")],
    "map_cc_ellipses": [(han(9) + "…", han(8) + "…")],
    "map_cc_bracketed": [(f"{han(18)}【】", f"{han(17)}【】")],
    "map_cc_digits": [(han(7) + "123，", han(6) + "123，")],
    "map_cc_more": [(lines("更多", 3, 10), lines("展开", 4, 13))],
    "map_cc_bullets": [(bullets(9, 10), bullets(19, 21))],
    "map_cc_punctuation": [("好。", "好")],
    "map_cc_distinct": [("好" * 10, "好" * 11)],
    "map_cc_entropy": [(han(21), han(20))],
    "chinese_c4_lines": [("好好好好。\n" * 6, "好好好好。\n" * 5 + "好好好。")],
    "chinese_c4_broken": [("好\n好", "好\n好□")],
    "mnbvc_han": [(han(7) + " abc", han(7) + " abcd")],
}

CAPTIONS: dict[str, list[Pair]] = {
    "laion_characters": [("a cat", "cats"), ("a" * 2000, "a" * 2001)],
    "datacomp_words": [("a b c", "a b-c")],
    "datacomp_characters": [("a b cd", "a b c")],
    "cc12m_words": [("a b c", "a b"), (plain(256), plain(257))],
    "cc12m_repetition": [("a b c d A", "a b c A")],
    "danqing_words": [(han(8), han(7)), (han(96), han(97))],
    "danqing_emoji": [("猫 !", "猫 😀"), ("a cat", "a cat ❤")],
    "no_url": [
        ("the www of old, e.g. this. Comet", "see www.example.org/a"),
        ("cats at ten.to ten", "Example.com"),
        ("http and https", "at http://1.2.3.4/"),
    ],
    "no_filename": [
        ("a photo of a cat", "a photo of a cat.JPG"),
        ("image of 3 cats", "IMG_20220101_120000"),
        ("a DSC 1", "DSC_0001"),
        ("微信图片是什么", "微信图片_20220101120000"),
    ],
    "no_markup": [
        ("3 < 4 & 5 > 2", "a <b>cat</b>"),
        ("Q&A; B & B", "cats &amp; dogs"),
        ("100%25 off", "%E7%8C%AB"),
    ],
    "no_broken_characters": [("naïve café Ã", "caf\ufffd"), ("it’s", "itâ€™s"), ("a\tb", "a\x07b")],
    "no_boilerplate": [("a button to click", "Click here"), ("一只猫", "一只猫 点击查看大图")],
}

NEWS: dict[str, list[Pair]] = {
    "michao_characters": [(han(100), han(99))],
    "michao_han": [(han(5) + "abcde", han(5) + "abcdef")],
    "michao_lines": [(f"{han(16)}\n{han(14)}", f"{han(15)}\n{han(14)}")],
    "michao_repetition": [(repeated_lines(3, 10), repeated_lines(4, 13))],
    "michao_whole_lines": [(lines("。", 3, 10), lines("。", 2, 7))],
    "michao_frame": [("上一篇\n" * 5, "上一篇\n" * 6)],
    "michao_legal": [("版权所有\n" * 2, "版权所有\n" * 3)],
    "news_style": [("新华社北京1月2日电 今天天气很好。", "新华社是一家通讯社。")],
    "government_style": [("国办发〔2022〕1号", "国办发了一号文件")],
}

GOLDEN = {"fineweb": ENGLISH, "chinese": CHINESE, "alt_text": CAPTIONS, "news": NEWS}


def test_every_rule_of_every_profile_has_golden_documents() -> None:
    assert {name: list(load_profile(name).criteria) for name in profile_names()} == {
        name: list(pairs) for name, pairs in sorted(GOLDEN.items())
    }


@pytest.mark.parametrize(
    ("profile", "name", "passing", "failing"),
    [(profile, name, *pair) for profile, rules in GOLDEN.items() for name, pairs in rules.items() for pair in pairs],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_rule_passes_the_one_and_just_fails_the_other(profile: str, name: str, passing: str, failing: str) -> None:
    loaded = load_profile(profile)
    bounds = loaded.criteria[name]
    measure = loaded.measures[bounds.column]
    for text, verdict in ((passing, True), (failing, False)):
        value = measure(Document(text))
        assert bounds.holds(value) is verdict, value
        # The same words as a criterion of a recipe come to the same, for the numbers are kept as they are compared.
        sql = bounds.sql("s")
        query = f"SELECT {sql} FROM (SELECT {{'{bounds.column}': $value::{'DOUBLE' if isinstance(value, float) else 'INT'}}} s)"
        assert duckdb.execute(query, {"value": value}).fetchall() == [(verdict,)]


LINES: dict[str, list[str]] = {
    "datelines": [
        "新华社北京1月2日电（记者 张三）国务院总理今天主持召开会议。",
        "中新社上海12月31日电 (李四)外滩人潮如织。",
        "人民网北京3月5日电 会议今天开幕。",
        "本报北京1月1日讯 记者王五报道：",
        "本报讯（记者 张三）昨日，",
        "（记者张三）新华社拉萨6月7日电",
        "央视网11月3日消息 据中国之声报道，",
    ],
    "attributions": [
        "来源：新华网",
        "[来源: 人民日报]",
        "（责任编辑：张三）",
        "责编：李四、王五",
        "记者 张三 李四",
        "本报记者 张三 通讯员 李四",
        "摄影/王五",
        "（记者 张三）",
        "初审：张三",
    ],
    "page_dates": [
        "2022-01-02",
        "发布时间：2022-01-02 10:30",
        "2022年1月2日",
        "日期: 2022/1/2 10:30:05",
        "浏览次数：1234",
        "阅读 100",
    ],
    "frame": ["上一篇：某某新闻", "您的位置：首页 > 新闻", "【字号 大 中 小】", "相关阅读", "扫一扫在手机打开当前页"],
    "legal": ["版权所有 某某网", "京ICP备12345678号-1", "未经授权不得转载，违者必究。", "本文仅代表作者个人观点"],
    "article_numbers": ["第一条 为了规范管理，制定本办法。", "第二十一章 附则", "第3节 总则"],
}
"""Lines that a page of news or of a government has, by the column that counts them."""

PROSE = [
    "会议强调，要坚持人民至上，把各项工作落到实处。",
    "来源于生活的艺术总是打动人心。",
    "记者从会上获悉，今年全市粮食产量再创新高。",
    "1月2日，市民在公园里散步。",
    "编辑这本书花了他三年时间。",
    "第一次来到这里，他就爱上了这座城市。",
    "2022年1月2日，第一场雪落在了北京。",
    "他上一次来是在去年春天。",
]
"""Lines of plain prose that no column may count."""


@pytest.mark.parametrize(("column", "line"), [(column, line) for column, all_ in LINES.items() for line in all_])
def test_a_line_of_the_frame_is_counted_by_its_column(column: str, line: str) -> None:
    measures = load_profile("news").measures
    assert measures[column](Document(f"他们在公园里散步。\n{line}\n天气很好。")) == 1


@pytest.mark.parametrize("line", PROSE)
def test_plain_prose_is_counted_by_none(line: str) -> None:
    measures = load_profile("news").measures
    assert {name: measures[name](Document(line)) for name in LINES} == dict.fromkeys(LINES, 0)


@pytest.mark.parametrize(
    ("text", "count"),
    [("国办发〔2022〕1号", 1), ("根据国发[2021]12号和财税（2019）第3号文", 2), ("2022年第1号台风", 0), ("第1号", 0)],
)
def test_numbers_of_documents_are_found(text: str, count: int) -> None:
    assert load_profile("news").measures["document_numbers"](Document(text)) == count


def test_hashtags_are_words_behind_a_hash() -> None:
    measure: Any = load_profile("alt_text").measures["hashtags"]
    assert measure(Document("#cat #dog_1 a#b no. #1 &#39; ＃猫")) == 3
