"""Messages of a driver that is run through Ray Client."""

from __future__ import annotations

from droplora_sweep.run.remote import connection_fault


def test_a_cluster_that_starts_no_process_for_the_client_is_not_called_absent() -> None:
    # As Ray's client raises it, with the server's traceback.
    answer = "Traceback (most recent call last):\n  File x\nRuntimeError: Starting failed!\n\n"
    error = ConnectionAbortedError(f"Initialization failure from server:\n{answer}")
    assert connection_fault("ray://head:10001", error) == (
        "--address: the Ray cluster at ray://head:10001 answers, but has started no process for "
        "this client: RuntimeError: Starting failed!; try again, or submit the sweep as a Ray job"
    )


def test_an_address_at_which_nothing_answers_is_named_with_the_reason() -> None:
    error = ConnectionError("ray client connection timeout\nmore")
    assert connection_fault("ray://head:10001", error) == (
        "--address: no Ray cluster answers at ray://head:10001: ray client connection timeout"
    )
