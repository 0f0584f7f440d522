"""The dashboard's server on the loopback interface."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ....errors import UserError
from .guard import Guard

if TYPE_CHECKING:
    from .storage import ReadOnlyStorage

THREADS = 4
"""Requests that are answered at once."""

LARGEST_BODY = 1_048_576
"""Most bytes of a request's body; the server takes these in before anybody is asked for a token."""

IDLE = 60
"""Seconds after which a connection on which nothing happens is closed."""


def check_installed() -> None:
    """Raise UserError if the packages of the extra ``dashboard`` are not installed."""
    from importlib.util import find_spec

    missing = [name for name, module in (("optuna-dashboard", "optuna_dashboard"), ("waitress", "waitress"))
               if find_spec(module) is None]  # fmt: skip
    if missing:
        raise UserError(
            f"the dashboard needs {' and '.join(missing)}, which is not installed: pip install 'pilotune[dashboard]'"
        )


def serve(
    storage: ReadOnlyStorage, name: str, tell: Callable[[str, int], object], *, address: str, port: int, write: bool
) -> None:
    """Serve the dashboard until Ctrl-C.

    Args:
        storage: The studies.
        name: The study that is opened.
        tell: Called once with the URL that lets a browser in, and the port.
        address: A loopback address.
        port: 0 for a free one.
        write: Changes are allowed.

    Raises:
        UserError: The port is taken, or may not be used.
    """
    from optuna_dashboard._app import create_app
    from waitress.server import create_server

    logging.getLogger("waitress").setLevel(logging.ERROR)
    home = f"/dashboard/studies/{storage.get_study_id_from_name(name)}"
    guard = Guard(create_app(storage), storage, name, home=home, write=write)
    try:
        server = create_server(
            guard,
            host=address,
            port=port,
            threads=THREADS,
            ident=None,
            max_request_body_size=LARGEST_BODY,
            channel_timeout=IDLE,
            clear_untrusted_proxy_headers=True,
        )
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        reason = {errno.EADDRINUSE: "is taken", errno.EACCES: "may not be used"}.get(error.errno, "does not exist here")
        raise UserError(f"port {port} of {address} {reason}; choose another, or leave --port out") from None
    host = f"[{address}]" if ":" in address else address
    try:
        tell(f"http://{host}:{server.effective_port}/?token={guard.token}", server.effective_port)
        server.run()
    finally:
        server.close()
