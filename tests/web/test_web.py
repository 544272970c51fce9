from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from cmo import web
from cmo.values import LibraryState

PDF, TEXT, OUTSIDE, GONE, PROGRAM = (f"doc-{n:016x}" for n in range(5))


class Shelf:
    """A library that knows where its documents lie, right or wrong."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    async def state(self) -> LibraryState:
        return LibraryState(documents=(), passages=0, generation="")

    async def start_indexing(self, *, paid: bool = False) -> None:
        pass

    async def cancel_indexing(self) -> None:
        pass

    async def page_source(self, doc_id: str) -> Path | None:
        return self._files.get(doc_id)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "a “b”.pdf").write_bytes(b"%PDF-1.7 " + bytes(range(200)))
    (papers / "notes.md").write_text("# <script>alert(1)</script>", encoding="utf-8")
    (papers / "tool.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    (tmp_path / "secret.pdf").write_bytes(b"%PDF-")
    (papers / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    shelf = Shelf(
        {
            PDF: papers / "a “b”.pdf",
            TEXT: papers / "notes.md",
            OUTSIDE: papers / "link.pdf",
            GONE: papers / "gone.pdf",
            PROGRAM: papers / "tool.html",
        }
    )

    async def library() -> Shelf:
        return shelf

    return TestClient(Starlette(routes=web.routes(library, papers)))


def test_health_answers(client: TestClient) -> None:
    assert client.get("/health").json()["status"] == "ok"


def test_a_paper_is_shown_inline(client: TestClient) -> None:
    answer = client.get(f"/papers/{PDF}.pdf")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"].startswith("inline")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_part_of_a_paper_can_be_asked_for(client: TestClient) -> None:
    answer = client.get(f"/papers/{PDF}.pdf", headers={"Range": "bytes=0-4"})
    assert answer.status_code == 206
    assert answer.content == b"%PDF-"


def test_text_documents_are_plain_text(client: TestClient) -> None:
    answer = client.get(f"/papers/{TEXT}.pdf")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        f"{OUTSIDE}.pdf",
        f"{GONE}.pdf",
        f"{PROGRAM}.pdf",
        f"doc-{9:016x}.pdf",
        f"{PDF}",
        "doc-0.pdf",
        f"{PDF.upper()}.pdf",
        "..%2f..%2fetc%2fpasswd.pdf",
        f"{PDF}%00.pdf",
        "",
    ],
)
def test_nothing_else_is_ever_sent(client: TestClient, path: str) -> None:
    assert client.get(f"/papers/{path}").status_code == 404
