"""`aptune submit`: a grid as a job on a Ray cluster."""

import typer

from jobs.cluster_options import AddressOption, WaitOption, WithCodeOption, connect
from jobs.common import EXIT_OK, ConfigOption, SetOption, make_console, read_config, run_app, say

EPILOG = """
Examples:

aptune submit -c my-grid.yaml --address http://127.0.0.1:8265

aptune submit -c my-grid.yaml --wait

Submitting a grid that is running joins its job; submitting it after it has ended or was stopped
continues it. Only the resolved configuration is sent. Paths in it are paths of the cluster, and
${NAME} is filled in there; a relative results_dir is taken from the current folder. Passwords and
tokens are not sent: they belong into the cluster's environment.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def submit(
    config: ConfigOption = None,
    sets: SetOption = None,
    address: AddressOption = None,
    with_code: WithCodeOption = False,
    wait: WaitOption = False,
) -> int:
    """Run every cell of the grid on a cluster, whether or not this machine stays connected."""
    resolved = read_config(config, sets or [])

    from jobs.submission import how_to_follow, submit_grid, wait_for

    console = make_console()
    server = connect(address)
    job = submit_grid(server, resolved, lambda text: say(console, text), with_code=with_code)
    if wait:
        return wait_for(server, job)
    say(console, how_to_follow(job))
    return EXIT_OK


if __name__ == "__main__":
    run_app(app)
