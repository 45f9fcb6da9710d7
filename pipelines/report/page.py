"""From a page's data to one HTML file that stands alone: styles, charts and pictures inside, no script, no request.

Everything is escaped by the template engine. Should that ever fail, the page's content security policy still lets nothing
run and nothing load: ``default-src 'none'``, with images from data URIs and the styles of the page itself as the only
exceptions. Price: milliseconds; the file is about 8 kB a picture.
"""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from .charts import draw, short
from .contents import Page

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The content security policy of a page."""


def render(page: Page) -> str:
    """The page as HTML."""
    return _environment().get_template("page.html").render(page=page, policy=POLICY)


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, percent=percent, short=short, bytes=told_bytes, seconds=told_seconds)
    environment.globals["draw"] = draw
    return environment


def _template(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def count(number: int) -> str:
    """A count with its thousands apart."""
    return f"{number:,}"


def percent(part: float, whole: float) -> str:
    """A share that says 0 and 100 only when it is so.

    >>> [percent(part, 3_000) for part in (0, 1, 1_000, 2_999, 3_000)]
    ['0 %', '< 0.1 %', '33.3 %', '> 99.9 %', '100 %']
    """
    if part in (0, whole) or not whole:
        return "100 %" if part and whole else "0 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.05 else "> 99.9 %" if share >= 99.95 else f"{share:.1f} %"


def told_bytes(number: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def told_seconds(number: float) -> str:
    """A length of time."""
    if number < 120:
        return f"{number:.0f} s" if number >= 10 or not number else f"{number:.2f} s" if number >= 0.01 else "< 0.01 s"
    minutes, hours = number / 60, number / 3600
    return f"{minutes:.1f} min" if minutes < 10 else f"{minutes:.0f} min" if minutes < 120 else f"{hours:.1f} h"
