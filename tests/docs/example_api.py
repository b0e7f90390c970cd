"""The API that the documentation's examples talk to: `https://api.example.com`, played by a server on loopback."""

from __future__ import annotations

from tests.servers.http import HttpServer, Reply, Request

__all__ = ("PASSWORD", "play")

PASSWORD = "my-password"
TOKEN = "a-token-of-the-example-api"


def play(server: HttpServer, other: HttpServer) -> None:
    """Give `server` the example API's endpoints; `other` is the host that `/moved-away` redirects to."""

    def prices(request: Request) -> Reply:
        day = dict(request.query).get("day", "2025-01-01")
        return Reply.json([{"day": day, "hour": hour, "price": 58.6 + hour} for hour in range(3)])

    def login(request: Request) -> Reply:
        if request.json()["password"] != PASSWORD:
            return Reply.json({"error": "wrong password"}, 401)
        return Reply.json({"token": TOKEN, "expires_in": 3600})

    def measurements(request: Request) -> Reply:
        if request.header("Authorization") != f"Bearer {TOKEN}":
            return Reply.json({"error": "log in first"}, 401)
        return Reply.json([{"turbine": "T1", "power": 2.5}])

    def turbines(request: Request) -> Reply:
        query = dict(request.query)
        page = int(query.get("page", "1"))
        start = int(query.get("offset", 10 * (page - 1)))
        following = f"/turbines?page={page + 1}" if start + 10 < 25 else None
        items = [f"T{number}" for number in range(1, 26)][start : start + 10]
        headers = {"Link": f'<{following}>; rel="next"'} if following else {}
        return Reply.json({"turbines": items, "total": 25, "next": following}, headers=headers)

    server.route("GET", "/prices")(prices)
    server.route("GET", "/turbines")(turbines)
    server.route("POST", "/oauth2/token")(lambda _: Reply.json({"access_token": TOKEN, "expires_in": 3600}))
    server.route("POST", "/upload")(lambda request: Reply.json({"bytes": len(request.body)}))
    server.route("GET", "/last")(lambda _: Reply(200, {"RateLimit-Remaining": "0", "RateLimit-Reset": "7"}))
    server.route("POST", "/orders")(lambda request: Reply.json({"id": 7, "sent": request.json()}, 201))
    server.route("PUT", "/orders/7")(lambda _: Reply.json({"id": 7}))
    server.route("PATCH", "/orders/7")(lambda _: Reply.json({"id": 7}))
    server.route("DELETE", "/orders/7")(lambda _: Reply(204))
    server.route("POST", "/login")(login)
    server.route("GET", "/measurements")(measurements)
    server.route("GET", "/old-prices")(lambda _: Reply(301, {"Location": "/prices"}))
    server.route("GET", "/moved-away")(lambda _: Reply(302, {"Location": f"{other.url}/echo"}))
    server.route("GET", "/page")(lambda _: Reply(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"))
    server.route("GET", "/limited")(lambda _: Reply(429, {"Retry-After": "600"}))
    server.route("GET", "/down")(lambda _: Reply(503))
    server.script("/flaky", [Reply(503), Reply.drop(), Reply.json({"ok": True})])
