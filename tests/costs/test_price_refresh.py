"""Refreshing prices, against a server on loopback that publishes lists as gpuhunt's does."""

from __future__ import annotations

import csv
import io
import threading
import zipfile
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from costsim.costs.prices import OVERLAYS, offers_of, price_for
from costsim.costs.prices.observations import read_prices
from costsim.costs.prices.refresh import refresh
from costsim.errors import CatalogError, SpecError

pytest.importorskip("gpuhunt", reason="the extra `prices` is not installed")

DAY = date(2026, 11, 30)
FIELDS = (
    "instance_name",
    "location",
    "price",
    "cpu",
    "memory",
    "gpu_count",
    "gpu_name",
    "gpu_memory",
    "spot",
    "disk_size",
    "gpu_vendor",
)


def offer(
    name: str = "p5.48xlarge",
    price: object = 55.0,
    count: object = 8,
    gpu: str = "H100",
    memory: object = 80,
    spot: object = False,
) -> dict[str, object]:
    values = (name, "us-east-1", price, 192, 2048.0, count, gpu, memory, spot, "", "nvidia")
    return dict(zip(FIELDS, values, strict=True))


def archive(provider: str, rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS)
    writer.writeheader()
    writer.writerows(rows)
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as zipped:
        zipped.writestr(f"{provider}.csv", text.getvalue())
    return found.getvalue()


class Server(HTTPServer):
    lists: dict[str, bytes]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        provider, *rest = self.path.strip("/").split("/")
        content = self.server.lists.get(provider)
        if content is None:
            self.send_error(404)
            return
        answer = b"20261130" if rest == ["version"] else content
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.lists = {}
    thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", f"http://127.0.0.1:{found.server_port}")
    monkeypatch.delenv("GPUHUNT_CATALOG_DIR", raising=False)
    yield found
    found.shutdown()
    found.server_close()


def test_a_good_list_becomes_the_price_of_a_plan(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [offer(price=40.0), offer(price=16.0, spot=True), offer("g6", 1.0, 1, "L4", 24)]
    server.lists["aws"] = archive("aws", rows)
    found = refresh(tmp_path, DAY, ["aws"])
    assert found.written == {"aws": 3}
    assert not found.kept
    monkeypatch.setenv(OVERLAYS, str(tmp_path))
    choice = price_for("nvidia-h100-sxm5-80gb", provider="aws", region="us-east-1")
    assert choice.usd_per_device_hour == 5.0
    assert choice.price.as_of == "2026-11-30"
    assert choice.billed_devices(1) == 8
    assert choice.billed_devices(17) == 24


def test_providers_that_fail_keep_their_last_good_list(server: Server, tmp_path: Path) -> None:
    server.lists["aws"] = archive("aws", [offer()])
    server.lists["azure"] = archive("azure", [offer("ND", 60.0)])
    refresh(tmp_path, DAY)
    before = (tmp_path / "azure.csv").read_bytes()
    whole = archive("azure", [offer("ND", 50.0)])
    server.lists["azure"] = whole[: len(whole) // 2]  # cut off in mid-download
    found = refresh(tmp_path, DAY)
    assert found.written == {"aws": 1}
    assert "azure" in found.kept
    assert (tmp_path / "azure.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aws.csv", "azure.csv"]


def test_half_of_the_offers_is_half_a_download(server: Server, tmp_path: Path) -> None:
    many = [offer(f"p5.{size}", 40.0 + size) for size in range(10)]
    server.lists["aws"] = archive("aws", many)
    refresh(tmp_path, DAY)
    server.lists["aws"] = archive("aws", many[:3])
    found = refresh(tmp_path, DAY)
    assert "only 3 offers where the last list has 10" in found.kept["aws"]
    assert len(read_prices(tmp_path / "aws.csv")) == 10


@pytest.mark.parametrize(
    "bad",
    [
        offer(price=-1.0),
        offer(price="nan"),
        offer(price="inf"),
        offer(price=7000.0),  # a sentinel
        offer(price="=cmd|' /C calc'!A0"),
        offer(count=-8),
        offer(gpu="=cmd"),
    ],
)
def test_hostile_rows_never_become_prices(
    server: Server, tmp_path: Path, bad: dict[str, object]
) -> None:
    server.lists["aws"] = archive("aws", [offer(), bad])
    found = refresh(tmp_path, DAY, ["aws"])
    (price,) = read_prices(tmp_path / "aws.csv")
    assert price.usd_per_device_hour == 55.0 / 8
    assert found.written == {"aws": 1}


def test_spot_above_on_demand_is_refused(server: Server, tmp_path: Path) -> None:
    server.lists["aws"] = archive("aws", [offer(price=40.0), offer(price=41.0, spot=True)])
    found = refresh(tmp_path, DAY, ["aws"])
    assert "above its own on-demand price" in found.kept["aws"]
    assert not list(tmp_path.iterdir())


def test_devices_that_the_catalogue_lacks_are_counted(server: Server, tmp_path: Path) -> None:
    server.lists["aws"] = archive("aws", [offer(), offer("x", 3.0, 1, "H999", 512)])
    assert refresh(tmp_path, DAY, ["aws"]).left_out == {"H999 512 GB": 1}


def test_no_server_is_one_clear_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUHUNT_CATALOG_URL", "http://127.0.0.1:9")
    with pytest.raises(SpecError, match="no price list could be fetched"):
        refresh(tmp_path, DAY)
    assert not list(tmp_path.iterdir())


def test_an_overlay_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERLAYS, "nowhere.csv")
    with pytest.raises(CatalogError, match=r"no price list `nowhere\.csv`"):
        offers_of("nvidia-l4")
