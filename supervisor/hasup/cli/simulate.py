"""``hasup simulate``."""

import click

from hasup.cli.options import config_option, json_option


@click.command()
@config_option
@click.option("--years", type=click.FloatRange(0.001, 10_000), default=10.0, show_default=True, help="So long.")
@click.option("--events", type=click.IntRange(1_000), default=400_000, show_default=True, help="At most so many.")
@click.option("--mtbf", multiple=True, metavar="[PROGRAM=]TIME", help="Mean time between failures of a replica.")
@click.option("--start", multiple=True, metavar="[PROGRAM=]TIME", help="Time from spawn to ready.")
@click.option("--hangs", multiple=True, metavar="[PROGRAM=]PERCENT", help="Share of failures that are hangs.")
@click.option("--replicas", multiple=True, metavar="PROGRAM=N", help="Another number of replicas.")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="Another value of an option.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same world.")
@json_option
def command(
    config: str | None,
    years: float,
    events: int,
    mtbf: tuple[str, ...],
    start: tuple[str, ...],
    hangs: tuple[str, ...],
    replicas: tuple[str, ...],
    settings: tuple[str, ...],
    seed: int,
    as_json: bool,
) -> int:
    """Show what availability to expect of the configuration.

    By formula, and by the real decisions in a simulated world. How often programs fail is taken from the journal where
    that knows it, else a day is assumed; what is assumed is shown. What if: --replicas web=5, --mtbf db=1h,
    --set programs.web.heartbeat.timeout=2s.
    """
    from hasup.cli.simulating import Question, simulate

    asked = Question(years, events, mtbf, start, hangs, replicas, settings, seed)
    return simulate(config, asked, as_json=as_json)
