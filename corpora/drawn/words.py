"""The words that drawn posters and signs say: common English words by their part of speech, and Chinese phrases.

They are put together by templates, so that a poster reads like one and two seldom say the same.
"""

from __future__ import annotations

NOUNS = tuple(
    """
    answer apple autumn bakery banana beach bicycle bottle bread breakfast bridge brother butter camera candle captain
    carpet castle cheese cherry chicken children city coffee cookie corner cotton country cousin dinner doctor dragon
    dream engine evening family farmer father feather festival finger fire flower forest friend future garden ghost
    giant guitar hammer harbor harvest history holiday honey hotel hunter island jacket jungle kitchen kitten ladder
    lantern lemon letter library lion machine magic market meadow member memory midnight mirror monday money monkey
    monster morning mother mountain music neighbor number ocean office onion painter pancake paper parrot people
    pepper piano pirate planet pocket potato prince promise puzzle queen rabbit railway record river robot rocket
    salad school season secret shadow sister soldier soup spider spirit spring station stone stories storm student
    sugar summer sunday table teacher theater thunder ticket tiger tomato tower traffic train travel treasure turtle
    uncle valley village violin voyage wagon water weather weekend whale window winter wisdom wolf woman wonder world
    writer yesterday
    """.split()  # noqa: SIM905 - a page of words is read and mended as a page
)

VERBS = tuple(
    """
    answer arrive begin believe borrow break bring build carry catch change choose climb collect cook count dance
    deliver discover dream drink drive enjoy explore feed find follow forget gather grow guess hear help hide hope
    invite jump keep know laugh learn leave listen love make meet notice open paint plant play promise read remember
    repair rescue return save search share shine sing sleep smile speak start stay study swim taste teach think travel
    trust visit wait walk watch wonder work write
    """.split()  # noqa: SIM905 - as above
)

ADJECTIVES = tuple(
    """
    amazing ancient angry awesome beautiful better big brave bright broken busy calm careful cheap clean clever cold
    common crazy curious daily deep different early easy empty famous fancy fast final first free fresh friendly
    funny gentle giant golden good grand great happy healthy heavy hidden honest hungry important invisible last
    lazy little lonely long lost lucky modern natural nervous new noisy old perfect plain proud quick quiet rare
    ready real rich royal secret serious silent silver simple sleepy slow special strange strong sudden sweet tall
    tender tiny tired tough useful warm wild wise wonderful wrong young
    """.split()  # noqa: SIM905 - as above
)

NAMES = tuple(
    """
    Adams Allen Baker Bennett Brooks Carter Coleman Cooper Daniels Edwards Fisher Foster Graham Harris Hudson Jackson
    Jordan Keller Lawson Marshall Mitchell Morgan Nelson Palmer Parker Porter Russell Sanders Spencer Turner Walker
    Watson
    """.split()  # noqa: SIM905 - as above
)

SIGNS = tuple(
    """
    BAKERY BARBER BOOKS BUTCHER CAFE CINEMA CLINIC CLOSED DELI DENTIST EXIT FLORIST GALLERY GARAGE HARDWARE HOSTEL
    HOTEL KARAOKE LAUNDRY LIBRARY MUSEUM NOODLES OFFICE PARKING PHARMACY PIZZA POLICE PRIVATE REPAIRS SALON SCHOOL
    STATION SUSHI TAILOR TAXI TICKETS TOILETS TOYS WELCOME YOGA
    """.split()  # noqa: SIM905 - as above
)

PHRASES_ZH = (
    *("生日快乐", "新年大吉", "恭喜发财", "万事如意", "欢迎光临", "今日特价", "全场五折", "买一送一", "清仓甩卖"),
    *("好好学习", "天天向上", "有志者事竟成", "千里之行始于足下", "知识就是力量", "时间就是金钱", "我爱我的家乡"),
    *("小心地滑", "请勿吸烟", "禁止停车", "节约用水", "保护环境", "安全第一", "周末愉快", "早安中国", "月圆人团圆"),
    *(
        "春天的故事",
        "大海的声音",
        "山中的老人",
        "少年与猫",
        "星星在唱歌",
        "北京烤鸭",
        "手工面条",
        "新鲜水果",
        "本店招聘",
    ),
)
