"""Before a sweep: check a file, say what it would take, describe the format to editors."""

from __future__ import annotations

from .options import Address, File, Overrides
from .printing import own_console


def validate(file: File, overrides: Overrides = None) -> None:
    """Check a file, its model and its data; name every fault."""
    from droplora_sweep.driver.preflight import prepare
    from droplora_sweep.spec import load_sweep_file

    prepare(load_sweep_file(file, overrides or ()))
    own_console().print(f"{file}: valid", highlight=False)


def plan(file: File, overrides: Overrides = None, address: Address = "auto") -> None:
    """Show the resolved spec and what a sweep would take; start nothing."""
    import yaml

    from droplora_sweep.display.tables import plan_table
    from droplora_sweep.driver.connection import nodes_at
    from droplora_sweep.driver.plan import make_plan
    from droplora_sweep.driver.preflight import check_room, prepare
    from droplora_sweep.spec import load_sweep_file

    prepared = prepare(load_sweep_file(file, overrides or ()))
    nodes = nodes_at(address)
    check_room(prepared.file, nodes)
    console = own_console()
    resolved = yaml.safe_dump(prepared.sweep.model_dump(mode="json"), sort_keys=False)
    console.print(resolved, highlight=False, markup=False)
    console.print(plan_table(prepared, make_plan(prepared, nodes)))


def schema() -> None:
    """Print the JSON Schema of search-space files, for editors."""
    import json

    from droplora_sweep.spec.schema import json_schema

    print(json.dumps(json_schema(), indent=2))  # noqa: T201 - plain JSON for other programs
