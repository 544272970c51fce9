import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from cmo.ui.identity import Guests
from cmo.ui.perimeter import Perimeter

GUESTS = Guests(b"s" * 64)


async def page(request: object) -> HTMLResponse:
    return HTMLResponse("<p>chat</p>")


async def data(request: object) -> JSONResponse:
    return JSONResponse({})


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("welcome")
    await socket.close()


@pytest.fixture
def client() -> TestClient:
    routes = [
        WebSocketRoute("/ws/socket.io", echo),
        Route("/project/action", data, methods=["POST"]),
        Route("/project/settings", data),
        Route("/{path:path}", page, methods=["GET", "POST"]),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(Perimeter, guests=GUESTS)
    return TestClient(app, base_url="http://localhost:8000")


def test_a_browser_gets_a_name_with_its_first_page(client: TestClient) -> None:
    answer = client.get("/", headers={"Accept": "text/html"})
    cookie = answer.headers["set-cookie"].split(";")[0]
    assert GUESTS.user_id(cookie) is not None


def test_a_known_browser_keeps_its_name(client: TestClient) -> None:
    client.get("/", headers={"Accept": "text/html"})
    assert "set-cookie" not in client.get("/", headers={"Accept": "text/html"}).headers


def test_data_names_nobody(client: TestClient) -> None:
    assert "set-cookie" not in client.get("/project/settings", headers={"Accept": "text/html"}).headers


def test_pages_load_nothing_from_outside(client: TestClient) -> None:
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/oauth2-redirect", "/openapi.json", "/redoc", "/mcp", "/copilot/index.js", "/login"]
)
def test_what_nobody_needs_is_closed(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_uploads_are_closed_and_offered_files_open(client: TestClient) -> None:
    assert client.post("/project/file").status_code == 404
    assert client.get("/project/file/1").status_code == 200


def test_a_web_socket_of_our_own_page_is_let_in(client: TestClient) -> None:
    headers = {"Origin": "http://localhost:8000", "Host": "localhost:8000"}
    with client.websocket_connect("/ws/socket.io", headers=headers) as ws:
        assert ws.receive_text() == "welcome"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost:9000", "null", "http://localhost:8000.evil.example"]
)
def test_a_web_socket_of_another_site_is_refused(client: TestClient, origin: str) -> None:
    headers = {"Origin": origin, "Host": "localhost:8000"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws/socket.io", headers=headers):
        pass


def test_another_site_can_press_no_button(client: TestClient) -> None:
    assert client.post("/project/action", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/project/action", headers={"Origin": "http://localhost:8000"}).status_code == 200


def test_another_site_cannot_poll_the_chat(client: TestClient) -> None:
    assert client.get("/ws/socket.io/", headers={"Origin": "http://evil.example"}).status_code == 403
