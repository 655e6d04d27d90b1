"""The page's server: Bokeh's, on the loopback unless another address is named, and for those who have the token."""

from __future__ import annotations

import hmac
import logging
import signal
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from ..errors import ConfigError
from .desk import Desk

__all__ = ["serve_page"]

_log = logging.getLogger(__name__)
COOKIE = "slads_watch"


def serve_page(
    desk: Desk,
    *,
    token: str,
    host: str = "127.0.0.1",
    port: int = 8010,
    origins: Sequence[str] = (),
    on_ready: Callable[[str], Any] | None = None,
) -> None:
    """Serve the page until the process is interrupted.

    Parameters
    ----------
    desk : Desk
        Closed at the end.
    token : str
        Every browser must show it once, in the address or in the form; a cookie keeps it then.
    host : str
        Address to listen on.
    port : int
        0 for any free one.
    origins : sequence of str
        Further ``host:port`` under which browsers reach the page, such as that of a proxy.
    on_ready : callable, optional
        Called with the page's address (without the token) when it answers.

    Raises
    ------
    ConfigError
        If the token is too weak, or the port taken.
    """
    from bokeh.server.server import Server
    from tornado.ioloop import IOLoop
    from tornado.web import StaticFileHandler

    from .page import Page

    if len(token) < 16:
        raise ConfigError("the token must have at least 16 characters")
    logging.getLogger("bokeh").setLevel(logging.WARNING)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    loop = IOLoop.current()
    static = str(files("slads_bluesky.watch").joinpath("static"))
    try:
        server = Server(
            {"/": lambda document: Page(document, desk) and None},
            io_loop=loop,
            address=host,
            port=port,
            allow_websocket_origin=_origins(host, port, origins),
            auth_provider=_provider(token),
            extra_patterns=[
                (r"/assets/(page\.css|page\.js|icon\.svg)", StaticFileHandler, {"path": static}),
                (r"/alive", _alive()),
            ],
            keep_alive_milliseconds=10_000,
            unused_session_lifetime_milliseconds=5_000,
            check_unused_sessions_milliseconds=2_000,
            session_token_expiration=3600,
        )
    except OSError as error:
        desk.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    taken = server.port
    if not port:
        server._tornado._websocket_origins = set(_origins(host, int(taken or 0), origins))
    server.start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.add_callback_from_signal(loop.stop))
    if on_ready is not None:
        loop.add_callback(on_ready, f"http://{host}:{taken}/")
    try:
        loop.start()
    finally:
        server.stop()
        desk.close()


def _origins(host: str, port: int, more: Sequence[str]) -> list[str]:
    own = {host, "localhost", "127.0.0.1"} if host in ("127.0.0.1", "localhost", "0.0.0.0") else {host}
    return [*(f"{name}:{port}" for name in sorted(own)), *more]


def _alive() -> type[Any]:
    from tornado.web import RequestHandler

    class Alive(RequestHandler):
        """Answers: a page that lost its server waits for this."""

        def get(self) -> None:
            self.set_header("Cache-Control", "no-store")
            self.write("yes")

    return Alive


def _provider(token: str) -> Any:
    """Return what lets in those who have the token."""
    from bokeh.server.auth_provider import AuthProvider
    from tornado.web import RequestHandler

    def holds(shown: str | None) -> bool:
        return shown is not None and hmac.compare_digest(shown.encode(), token.encode())

    def let_in(handler: Any) -> None:
        handler.set_cookie(COOKIE, token, httponly=True, samesite="Strict", expires_days=30)

    def user(handler: Any) -> str | None:
        if holds(handler.get_cookie(COOKIE)):
            return "operator"
        shown = handler.get_argument("token", None)
        if holds(shown) and handler.request.method == "GET" and not handler.request.headers.get("Upgrade"):
            let_in(handler)
            return "operator"
        return None

    class Login(RequestHandler):
        """The form for the token."""

        def get(self) -> None:
            self._form("")

        def post(self) -> None:
            if holds(self.get_body_argument("token", "")):
                let_in(self)
                self.redirect("/")
            else:
                self.set_status(403)
                self._form("This is not the token.")

        def _form(self, wrong: str) -> None:
            self.write(_LOGIN.replace("{wrong}", wrong))

    class Provider(AuthProvider):  # type: ignore[misc]  # not typed for us, see pyproject.toml
        """Bokeh's hook."""

        @property
        def get_user(self) -> Any:
            return user

        @property
        def login_url(self) -> str:
            return "/login"

        @property
        def login_handler(self) -> Any:
            return Login

    return Provider()


_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>slads-bluesky watch</title>
<link rel="stylesheet" href="/assets/page.css"><body class="login"><form method="post" action="/login">
<h1>slads-bluesky watch</h1><label for="token">Token, as <code>slads-bluesky watch</code> printed it</label>
<input id="token" name="token" type="password" autocomplete="current-password" autofocus required>
<button>Open the page</button><p role="alert">{wrong}</p></form></body></html>
"""
