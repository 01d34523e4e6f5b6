"""The Ray cluster that `--engine ray` works on: one that is running, or one of its own."""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ..engine import EngineError
from ..survey import cores

REACH = 10.0
"""Seconds in which the head of a running cluster has to answer."""
OBJECTS = 100 * 2**20
"""Bytes of shared memory of a cluster of our own: only messages go through it."""


def load_ray() -> Any:  # Any: Ray need not be installed, so its types cannot be relied on
    """The module `ray`; raises EngineError where it is not installed."""
    try:
        return import_module("ray")
    except ImportError:
        raise EngineError(
            "--engine ray needs Ray: pip install 'sedimental[ray]', on every machine of the "
            "cluster. Without it, start one --shard i/n a GPU."
        ) from None


@contextmanager
def connected(ray: Any, address: str | None, cpus: int | None = None) -> Iterator[None]:
    """Within it, Ray is there: the cluster in use already, the one named, or a new one.

    A new one has the processors that this process may use, or `cpus`.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := address or os.environ.get("RAY_ADDRESS"):
        reach(address)
        try:
            ray.init(address=address, **quiet)
        except ConnectionError as fault:
            raise _unreached(address, fault) from None
        try:
            yield
        finally:
            ray.shutdown()
        return
    # names of sockets are cut off at 107 bytes: not below a TMPDIR of any length
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        try:
            _begin(ray, cpus or cores(), folder, quiet)
            yield
        finally:
            ray.shutdown()


def _begin(ray: Any, cpus: int, folder: str, quiet: Mapping[str, Any]) -> None:
    """A cluster of this machine's own, its files in `folder`."""
    try:
        ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=OBJECTS,
            _temp_dir=folder,
            _system_config={"worker_niceness": 0},  # else the work would yield to all others
            **quiet,
        )
    except Exception as fault:  # Ray has no kind of its own for a cluster that does not start
        raise EngineError(
            f"--engine ray: no cluster could be started on this machine: {fault} Try again, or "
            "start one with `ray start --head` and say --address auto."
        ) from None


def reach(address: str) -> None:
    """Raise EngineError where nobody listens; Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), REACH).close()
        except OSError as fault:
            raise _unreached(address, fault) from None


def _unreached(address: str, fault: OSError) -> EngineError:
    return EngineError(
        f"--address {address}: no Ray cluster answers there ({fault}). `ray start --head` begins "
        "one; without --address and RAY_ADDRESS one is made on this machine alone."
    )
