"""The command line: check the words, call the function of the same name, say what came out.

This is the only place that prints. Each command is one file; heavy imports happen inside the
commands, so that ``drcnet --help`` answers at once.
"""

import sys

import typer

from drcnet import __version__
from drcnet.cli import (
    check,
    classify,
    demo,
    evaluate,
    models,
    prepare,
    report,
    simulate,
    train,
)
from drcnet.errors import DrcnetError

__all__ = ["app", "main"]

EXIT_CODES = """
Exit codes: 0 all done; 1 nothing could be done, one line says why; 2 wrong words on the command
line; 3 done, but some frames or fibres were refused and the product says why; 130 interrupted,
the same command goes on where it stopped.
"""

app = typer.Typer(
    name="drcnet",
    help="What kind of star did a fibre look at? Straight from the two-dimensional CCD image."
    "\n\nStart with: drcnet demo",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _module in (simulate, check, prepare, train, evaluate, report, classify, models, demo):
    app.command(name=_module.__name__.rsplit(".", 1)[-1])(_module.command)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"drcnet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line; every error a user can mend is one line on standard error."""
    try:
        app()
    except DrcnetError as err:
        typer.secho(f"drcnet: {err}", err=True, fg=typer.colors.RED)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("drcnet: interrupted; the same command goes on from here", err=True)
        sys.exit(130)
