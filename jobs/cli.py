"""The command line: ``tamis VERB RECIPE``.

A verb imports what it needs when it runs: workers that are spawned import this module again, and start in a third of the
time without the report, the demo and the scorers. Progress and messages go to stderr; with ``--json`` one object is the
last thing on stdout. Exit codes: 0 done, 1 finished with losses beyond the recipe's tolerance, 2 wrong usage or recipe.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..corpora.errors import ConfigError, TamisError
from .options import RunOptions, with_run_options

if TYPE_CHECKING:
    from ..pipelines.job import Job, StageResult, Watch
    from ..pipelines.recipe import Recipe
    from ..pipelines.run import RunResult

app = typer.Typer(
    name="tamis",
    help="Curate image-text corpora at web scale: measure once, decide many times, prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
messages = Console(stderr=True, highlight=False)
held = ExitStack()
"""What a verb holds to its end: the lock of its corpus."""

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout at the end.")]


@app.command("run", epilog="Example: `tamis run recipe.yaml --workers 8`")
@with_run_options
def run_recipe(
    recipe: RecipePath,
    options: RunOptions,
    first: Annotated[
        str, typer.Option("--from", help="The first stage: fetch, score, dedup, decide, export.")
    ] = "fetch",
    last: Annotated[str, typer.Option("--to", help="The last stage.")] = "export",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and say what would run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run all stages of a recipe; what is done is not done again, so running again resumes."""
    from ..pipelines.ingest import source_of
    from ..pipelines.report.report import write_report
    from ..pipelines.run import between, check, run

    job = _job(recipe, options, writes=not dry_run)
    if dry_run:
        check(job, source_of(job.recipe).schema())
        told = {"recipe": job.recipe.model_dump(mode="json"), "stages": list(between(first, last))}
        _print_json(told) if as_json else messages.print(
            f"{recipe} is sound; it would run: {', '.join(told['stages'])}"
        )
        return
    result = run(job, first, last)
    report = write_report(job, result) if last == "export" else None
    _finish(job, result, report, as_json)


def _stage_command(stage: str, about: str) -> Callable[..., None]:
    def command(recipe: RecipePath, options: RunOptions, as_json: AsJson = False) -> None:
        from ..pipelines.run import STAGES

        job = _job(recipe, options)
        found = STAGES[stage](job)
        results = found if isinstance(found, list) else [found]
        _finish_stage(job, results, as_json)

    command.__doc__ = about
    return app.command(stage, epilog=f"Example: `tamis {stage} recipe.yaml`")(with_run_options(command))


@app.command(epilog="Example: `tamis fetch recipe.yaml --retry-failed --class later`")
@with_run_options
def fetch(
    recipe: RecipePath,
    options: RunOptions,
    again: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again for what failed; what comes stands in new shards.")
    ] = False,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Which failures: now, later, never. [default: now, later]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask for the recipe's URLs, or adopt its tars: the corpus gets its shards."""
    from ..pipelines.ingest import ingest, retry_failed

    if classes and not again:
        raise ConfigError("--class goes with --retry-failed: it says which failures are asked for again")
    job = _job(recipe, options)
    _finish_stage(job, retry_failed(job, classes or ("later", "now")) if again else [ingest(job)], as_json)


_stage_command("score", "Measure what the recipe's scores have not measured yet.")
_stage_command("dedup", "Find the duplicates that the recipe names.")
_stage_command("decide", "Judge every sample under the recipe's criteria and policies; measures nothing.")
_stage_command("export", "Write the recipe's exports: new shards, by copying ranges of bytes.")


@app.command(epilog="Example: `tamis report recipe.yaml`")
def report(recipe: RecipePath, as_json: AsJson = False) -> None:
    """Write the report page of a recipe's corpus: funnel, histograms, galleries, failures."""
    from ..pipelines.report.report import write_report

    job = _job(recipe, RunOptions())
    path = write_report(job, None)
    _print_json({"report": str(path)}) if as_json else messages.print(f"report: {path}")


@app.command(epilog="Example: `tamis demo --workdir /tmp/demo`")
@with_run_options
def demo(
    options: RunOptions,
    workdir: Annotated[Path, typer.Option(help="Where the corpus, the export and the page go.")] = Path("work/demo"),
    seed: Annotated[int, typer.Option(help="The seed of the generated corpus.")] = 0,
    size: Annotated[int, typer.Option(help="Requests in it; the shares of what is planted stay.")] = 1500,
    as_json: AsJson = False,
) -> None:
    """Run the whole loop on a generated corpus with planted truth, served over HTTP on this machine; needs no network."""
    from ..pipelines.demo.demo import run_demo
    from .tables import print_account, print_truth

    result = run_demo(workdir, seed, size, lambda recipe: _job_of(recipe, options))
    if as_json:
        stages = [stage.told() for stage in result.run.stages]
        _print_json({**result.run.account, "stages": stages, "report": str(result.report), "truth": result.truth})
    else:
        print_account(messages, result.run)
        print_truth(messages, result.truth)
        messages.print(f"report: [bold]{result.report}[/bold]", soft_wrap=True)
    _exit_on_losses(result.run.poison, result.recipe)


@app.command(epilog="Example: `tamis explain work/demo/corpus 9c94e136e2cc84a6ca4e6ac7cb994c49`")
def explain(
    corpus: Annotated[str, typer.Argument(help="The corpus: a folder or an fsspec URL.")],
    name: Annotated[str, typer.Argument(metavar="UID", help="A uid, or a URL.")],
    as_json: AsJson = False,
) -> None:
    """Say all that is known of a sample: values, verdicts, duplicates, exports."""
    from ..corpora.corpus import open_corpus
    from ..corpora.store import Store
    from ..pipelines.explaining import explain as explain_sample
    from .tables import print_explanation

    told = explain_sample(open_corpus(Store(corpus)), name)
    _print_json(told) if as_json else print_explanation(Console(highlight=False), told)


@app.command(
    "job",
    epilog="Example: `tamis job ray-submit recipe.yaml --out ray-submit.sh`; "
    "another: `tamis job kuberay recipe.yaml --image registry.example/tamis:1 | kubectl apply -f -`",
)
def manifest(
    template: Annotated[str | None, typer.Argument(metavar="TEMPLATE", help="One of those that --list names.")] = None,
    recipe: Annotated[Path | None, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")] = None,
    image: Annotated[str | None, typer.Option(help="The container image that pods run.")] = None,
    queue: Annotated[str | None, typer.Option(help="A YARN queue, or a Slurm partition.")] = None,
    archive: Annotated[str | None, typer.Option(help="A Python environment for YARN's nodes, by venv-pack.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it. [default: stdout]")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Name the templates, with a line each.")] = False,
) -> None:
    """Print what runs a recipe on a cluster: a script for Ray, Spark or Slurm, a Kubernetes manifest, a Dockerfile."""
    from ..pipelines.recipe import read_recipe
    from .cluster.rendering import TEMPLATES, Options, render, write

    if listing:
        for name, known in TEMPLATES.items():
            print(f"{name:<18}{known.about}")
        return
    if template is None or recipe is None:
        raise ConfigError("tamis job wants a TEMPLATE and a RECIPE; tamis job --list names the templates")
    text = render(template, read_recipe(recipe), Options(image=image, queue=queue, archive=archive))
    write(out, text) if out else print(text, end="")


@app.command(epilog="Example: `tamis status work/demo/corpus --watch`")
def status(
    corpus: Annotated[str, typer.Argument(help="The corpus: a folder or an fsspec URL.")],
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until interrupted.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a look to stdout.")] = False,
) -> None:
    """Say how far a corpus is, from any terminal or machine: done, failing, slow, rates, time left, disk, what is next."""
    from .status import show

    show(corpus, as_json, every if watch else None)


@app.command(epilog="Example: `tamis schema > recipe.schema.json`")
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors that complete and check YAML."""
    from ..pipelines.recipe import Recipe

    _print_json(Recipe.model_json_schema())


def _job(path: Path, options: RunOptions, writes: bool = True) -> Job:
    from ..pipelines.recipe import read_recipe

    return _job_of(read_recipe(path), options, writes)


def _job_of(recipe: Recipe, options: RunOptions, writes: bool = True) -> Job:
    """The recipe's job, with the engine, its address and the number of workers that the command line names, if it does.

    A job that ``writes`` has its corpus to itself until the verb ends.
    """
    from ..corpora.lock import locked
    from ..corpora.store import Store
    from ..pipelines.job import Job
    from .engines.choosing import engine_of

    told = {"kind": options.engine, "workers": options.workers, "address": options.address}
    block = recipe.engine.model_copy(update={key: value for key, value in told.items() if value is not None})
    if options.address is not None and block.kind == "local":
        raise ConfigError("--address: the engine is local, which has none; name another with --engine ray or spark")
    job_recipe = recipe.model_copy(update={"engine": block})
    store = Store(recipe.corpus)
    lock = held.enter_context(locked(store, _say)) if writes else None
    return Job(job_recipe, store, engine_of(block), _watch(options), lock)


def _watch(options: RunOptions) -> Watch:
    """Who watches the run: progress bars, and metrics if they are asked for."""
    from .progress import ProgressBars
    from .watching import Watchers

    bars = ProgressBars(messages)
    if options.metrics is None:
        return bars
    from .metrics import Metrics, MetricsServer

    server = MetricsServer(Metrics(), options.metrics)
    messages.print(f"metrics: {server.url}", soft_wrap=True)
    return Watchers((bars, server.metrics))


def _finish(job: Job, result: RunResult, report_path: Path | str | None, as_json: bool) -> None:
    from .tables import print_account

    if as_json:
        told = {"stages": [stage.told() for stage in result.stages], "worked": result.worked}
        _print_json({**result.account, "report": str(report_path) if report_path else None, **told})
    else:
        print_account(messages, result)
        if report_path:
            messages.print(f"report: [bold]{report_path}[/bold]", soft_wrap=True)
    _exit_on_losses(result.poison, job.recipe)


def _finish_stage(job: Job, results: Sequence[StageResult], as_json: bool) -> None:
    from .tables import print_stages

    print_stages(messages, results)
    if as_json:
        _print_json({"stages": [result.told() for result in results]})
    _exit_on_losses([(r.stage, item, error) for r in results for item, error in r.poison], job.recipe)


def _exit_on_losses(poison: Sequence[tuple[str, str, str]], recipe: Recipe) -> None:
    for stage, item, error in poison:
        messages.print(f"[red]failed[/red] {stage} {item}: ", end="")
        messages.print(error, markup=False)
    if len(poison) > recipe.tolerance.failed_shards:
        raise typer.Exit(1)


def _say(message: str) -> None:
    messages.print(message, markup=False, soft_wrap=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str))


def main() -> None:
    """Run the command line; our own errors become one clear message and an exit code."""
    try:
        with held:
            app()
    except ConfigError as error:
        messages.print("[red]error[/red] ", end="")
        messages.print(str(error), markup=False, soft_wrap=True)
        sys.exit(2)
    except TamisError as error:
        messages.print(f"[red]{type(error).__name__}[/red] ", end="")
        messages.print(str(error), markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
