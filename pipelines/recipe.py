"""The recipe: one YAML file that says all of a run, checked before anything is done.

Unknown keys, wrong types and impossible values are refused with the field, the value found and what is allowed.
Relative paths are relative to the recipe's folder. Key names are part of the contract (docs/architecture.md, 8).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from ..corpora.errors import ConfigError
from ..models.clip_source import WEIGHT_SUFFIXES

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
CorpusName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Block(BaseModel):
    """A part of a recipe: no unknown keys, no infinite numbers, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _list_columns(columns: dict[str, str]) -> dict[str, str]:
    if not {"url"} <= columns.keys() <= {"url", "caption"}:
        raise ValueError("it maps url, and caption where the list has one, to the list's own column names")
    return columns


class LaionBlock(Block):
    """A URL list; see ``tamis.corpora.sources.laion``."""

    kind: Literal["laion"]
    path: str
    columns: Annotated[dict[str, str], AfterValidator(_list_columns)] = {"url": "URL", "caption": "TEXT"}
    keep: tuple[str, ...] = ()


class ShardsBlock(Block):
    """Tars that exist already; see ``tamis.corpora.sources.shards``."""

    kind: Literal["shards"]
    path: str
    keep: tuple[str, ...] = ()


SourceBlock = Annotated[LaionBlock | ShardsBlock, Field(discriminator="kind")]
KINDS: dict[str, type[Block]] = {"laion": LaionBlock, "shards": ShardsBlock}


class ResizeBlock(Block):
    """To what size images are brought before they are kept; see ``tamis.corpora.resizing``."""

    side: Literal["longest", "shortest"] = "longest"
    pixels: int = Field(512, ge=1, le=16_384)
    only_if_bigger: bool = True
    format: Literal["jpeg", "webp"] = "jpeg"
    quality: int = Field(90, ge=1, le=100)
    resampling: Literal["area", "bicubic"] = "area"


class FetchBlock(Block):
    """How URLs are asked for."""

    concurrency: int = Field(256, ge=1, le=4096)
    per_host: int = Field(16, ge=1, le=1024)
    per_host_rate: float | None = Field(None, gt=0)
    """The most requests a second that one host is asked by all workers together."""
    timeout_seconds: float = Field(20.0, gt=0)
    max_bytes: int = Field(25_000_000, ge=1)
    retries: int = Field(2, ge=0, le=20)
    max_redirects: int = Field(5, ge=0, le=50)
    allow_hosts: tuple[str, ...] = ()
    user_agent: str | None = None
    proxy: str = ""
    robots: bool = True
    max_crawl_delay_seconds: float = Field(10.0, ge=0)
    robots_tags: tuple[Literal["noai", "noimageai", "noindex", "noimageindex"], ...] = ("noai", "noimageai")
    tdm_reservation: bool = True
    resize: ResizeBlock | None = None
    opt_out: str | None = None
    """A list of hosts, URL prefixes and image hashes that are not to be asked for or kept; a file or fsspec URL."""


class CutBlock(Block):
    """How the plan is cut into shards."""

    samples: int = Field(10_000, ge=1, le=1_000_000)
    seed: Seed = 0


class DuplicatesBlock(Block):
    """One way of finding duplicates: rows with equal values of ``on``, an index or score column."""

    on: str


class ExportBlock(Block):
    """Where the rows of a policy go."""

    policy: Name
    to: str
    samples: int = Field(10_000, ge=1, le=1_000_000)
    shuffle: Literal["none", "block", "full"] = "full"
    seed: Seed = 0
    materialise_repeats: bool = False


class ReportBlock(Block):
    """How much the report shows."""

    samples: int = Field(200, ge=0, le=5_000)


class EngineBlock(Block):
    """Where work runs."""

    kind: Literal["local", "ray", "spark"] = "local"
    workers: int = Field(2, ge=1)
    max_workers: int | None = Field(None, ge=1)
    """Up to how many workers a cluster may grow while items wait; ``workers`` by default."""
    address: str | None = None
    """A running cluster: Ray's address (``auto``, ``host:6379``, ``ray://...``) or Spark's master; None starts one here."""
    gpus_per_worker: float = Field(0, ge=0)
    resources: dict[str, Annotated[float, Field(gt=0)]] = {}
    """What else a worker needs, by the names that the cluster gave it."""
    memory_gib: float = Field(1, gt=0)
    """What a worker of ``group`` may hold before it spills to disk."""
    batch_size: int = Field(64, ge=1)
    threads: int = Field(1, ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"


class ToleranceBlock(Block):
    """The losses that a run may have and still count as done."""

    failed_shards: int = Field(0, ge=0)


Settings = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]


class Recipe(Block):
    """A whole run."""

    name: CorpusName = "corpus"
    corpus: str
    source: SourceBlock
    fetch: FetchBlock = FetchBlock()  # type: ignore[call-arg]
    shards: CutBlock = CutBlock()  # type: ignore[call-arg]
    scores: dict[Name, Settings] = {}
    duplicates: dict[Name, DuplicatesBlock] = {}
    criteria: dict[Name, str] = {}
    policies: dict[Name, str] = {}
    exports: tuple[ExportBlock, ...] = ()
    report: ReportBlock = ReportBlock()  # type: ignore[call-arg]
    engine: EngineBlock = EngineBlock()  # type: ignore[call-arg]
    tolerance: ToleranceBlock = ToleranceBlock()  # type: ignore[call-arg]

    def digest(self) -> str:
        """SHA-256 of the recipe as read, engine left out: where it runs does not change what it makes."""
        told = self.model_dump(mode="json", exclude={"engine", "report"})
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe file.

    Raises:
        ConfigError: it is missing, not YAML, or says something that cannot be.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the recipe {str(path)!r}: {error}; give the path of a YAML file") from error
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a day that is in no calendar
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path}: found {type(value).__name__}, expected a mapping with at least `corpus` and `source`"
        )
    return parse_recipe(value, path.resolve().parent, str(path))


def load_yaml(text: str) -> Any:
    """Plain values from YAML, read strictly: no repeated keys, and ``on`` is a word, as YAML 1.2 has it."""
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader


def parse_recipe(value: dict[str, Any], folder: Path, told: str = "recipe") -> Recipe:
    """Check a recipe given as a mapping; relative paths are taken from ``folder``.

    Raises:
        ConfigError: one line for each field that is wrong.
    """
    try:
        recipe = Recipe.model_validate(value)
    except ValidationError as error:
        lines = [_line(problem) for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(f"{told}: {line}" for line in lines)) from error
    recipe = _with_paths(recipe, folder)
    for number, export in enumerate(recipe.exports):
        if export.policy not in recipe.policies:
            known = ", ".join(recipe.policies) or "none"
            raise ConfigError(f"{told}: exports.{number}.policy: no policy {export.policy!r}; this recipe has: {known}")
        if export.to in {other.to for other in recipe.exports[:number]}:
            raise ConfigError(f"{told}: exports.{number}.to: {export.to!r} is given twice; every export needs a folder")
    return recipe


def resolve(path: str, folder: Path) -> str:
    """A path of a recipe, seen from its folder; URLs, absolute paths and those from a home folder as they are."""
    return path if "://" in path or path.startswith(("/", "~")) else str(folder / path)


def _is_path(key: str, value: Any, folder: Path) -> bool:
    """Whether a scorer's setting is a path: ``path`` always; weights and tokenizers may also be a tag."""
    if not isinstance(value, str) or key not in {"path", "weights", "tokenizer"}:
        return False
    return (
        key == "path" or "/" in value or value.endswith(WEIGHT_SUFFIXES) or (bool(value) and (folder / value).exists())
    )


def _with_paths(recipe: Recipe, folder: Path) -> Recipe:
    scores = {
        name: {key: resolve(v, folder) if _is_path(key, v, folder) else v for key, v in settings.items()}
        for name, settings in recipe.scores.items()
    }
    return recipe.model_copy(
        update={
            "corpus": resolve(recipe.corpus, folder),
            "fetch": recipe.fetch.model_copy(
                update={"opt_out": recipe.fetch.opt_out and resolve(recipe.fetch.opt_out, folder)}
            ),
            "source": recipe.source.model_copy(update={"path": resolve(recipe.source.path, folder)}),
            "exports": tuple(e.model_copy(update={"to": resolve(e.to, folder)}) for e in recipe.exports),
            "scores": scores,
        }
    )


def _line(problem: Any) -> str:
    in_source = problem["loc"][0] == "source"
    steps = (str(p) for p in problem["loc"] if p != "[key]" and not (in_source and p in KINDS))
    where = ".".join(step if step.isprintable() else repr(step) for step in steps)  # a message keeps to its line
    found = problem.get("input")
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed(problem["loc"][:-1]))
        return f"{where}: unknown key (found {found!r}); allowed here: {allowed}"
    if problem["type"] == "missing":
        return f"{where}: missing; it must be given"
    if problem["type"].startswith("union_tag"):
        known = ", ".join(KINDS)
        told = f"no source {problem['ctx']['tag']!r}" if "tag" in problem["ctx"] else "missing; it must be given"
        return f"{where}.kind: {told}; there are: {known}"
    return f"{where}: {_in_yaml_words(problem['msg'])}; found {found!r}"


def _in_yaml_words(message: str) -> str:
    """Pydantic speaks of Python's types; a recipe has mappings and lists."""
    message = message.removeprefix("Value error, ").replace("a valid tuple", "a list")
    return re.sub(r"a valid dictionary( or (object to extract fields from|instance of \w+))?", "a mapping", message)


def _allowed(location: tuple[str | int, ...]) -> list[str]:
    blocks: dict[str, type[Block]] = {
        "shards": CutBlock,
        "fetch": FetchBlock,
        "exports": ExportBlock,
        "report": ReportBlock,
        "engine": EngineBlock,
        "tolerance": ToleranceBlock,
        "duplicates": DuplicatesBlock,
    }
    if not location:
        return list(Recipe.model_fields)
    if location[0] == "source":
        return list(KINDS[str(location[1])].model_fields)
    return list(blocks[str(location[0])].model_fields)


_BOOL, _MERGE = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice, and takes only true and false for booleans."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = None if key_node.tag == _MERGE else self.construct_object(key_node, deep=deep)
            if key is None or not isinstance(key, Hashable):  # what is not hashable SafeLoader refuses itself
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|false|True|False|TRUE|FALSE)$"), list("tTfF"))
