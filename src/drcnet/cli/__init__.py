"""The command line: check the words, call the function of the same name, say what came out.

This is the only place that prints. Each command is one file; heavy imports happen inside the
commands, so that ``drcnet --help`` answers at once.
"""

import sys
from collections.abc import Callable

import typer

from drcnet import __version__
from drcnet.cli.benchmark import app as benchmark_app
from drcnet.cli.calibrate import command as calibrate_command
from drcnet.cli.catalog import app as catalog_app
from drcnet.cli.check import command as check_command
from drcnet.cli.classify import command as classify_command
from drcnet.cli.compare import command as compare_command
from drcnet.cli.dataset import app as dataset_app
from drcnet.cli.demo import command as demo_command
from drcnet.cli.ensemble import command as ensemble_command
from drcnet.cli.evaluate import command as evaluate_command
from drcnet.cli.extract import command as extract_command
from drcnet.cli.instrument import app as instrument_app
from drcnet.cli.models import command as models_command
from drcnet.cli.paper import command as paper_command
from drcnet.cli.prepare import command as prepare_command
from drcnet.cli.report import command as report_command
from drcnet.cli.robustness import command as robustness_command
from drcnet.cli.saliency import command as saliency_command
from drcnet.cli.simulate import command as simulate_command
from drcnet.cli.split import command as split_command
from drcnet.cli.sweep import command as sweep_command
from drcnet.cli.train import command as train_command
from drcnet.errors import DrcnetError

__all__ = ["app", "main"]

EXIT_CODES = """
Exit codes: 0 all done; 1 nothing could be done, one line says why; 2 wrong words on the command
line; 3 done, but some frames, fibres or runs failed and the product says why; 130 interrupted,
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

_COMMANDS: dict[str, Callable[..., None]] = {
    "simulate": simulate_command,
    "check": check_command,
    "prepare": prepare_command,
    "train": train_command,
    "sweep": sweep_command,
    "ensemble": ensemble_command,
    "calibrate": calibrate_command,
    "evaluate": evaluate_command,
    "compare": compare_command,
    "robustness": robustness_command,
    "saliency": saliency_command,
    "paper": paper_command,
    "report": report_command,
    "classify": classify_command,
    "extract": extract_command,
    "models": models_command,
    "demo": demo_command,
}
for _name, _command in _COMMANDS.items():
    app.command(name=_name)(_command)
app.add_typer(instrument_app, name="instrument")
app.add_typer(catalog_app, name="catalog")
dataset_app.command(name="split")(split_command)
app.add_typer(dataset_app, name="dataset")
app.add_typer(benchmark_app, name="benchmark")


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
