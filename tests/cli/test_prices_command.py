import csv
import io
import json

import pytest

from costsim.cli import main


def test_the_list_says_provider_date_and_spread(capsys: pytest.CaptureFixture[str]):
    assert main(["prices"]) == 0
    output = capsys.readouterr()
    header, *rows = output.out.splitlines()
    assert header.split() == ["ACCELERATOR", "$/H", "LOW-HIGH", "SELLERS", "CHOSEN", "AS", "OF"]
    (row,) = [row for row in rows if row.startswith("nvidia-h100-sxm5-80gb")]
    assert "aws" in row
    assert "2.40-12.29" in row
    assert "2026-09-06" in row
    assert "90 days older" in output.err


def test_one_accelerator_ends_with_the_choice(capsys: pytest.CaptureFixture[str]):
    assert main(["prices", "nvidia-a100-sxm4-80gb"]) == 0
    text = capsys.readouterr().out
    assert "a plan takes 4.00 $/h per device (oci" in text
    assert "spread 3.43 to 5.03" in text
    assert "source:" in text


def test_an_alias_of_the_hardware_catalogue_will_do(capsys: pytest.CaptureFixture[str]):
    assert main(["prices", "h100-sxm"]) == 0
    assert "nvidia-h100-sxm5-80gb" in capsys.readouterr().out


def test_json_and_csv_hold_the_same_offers(capsys: pytest.CaptureFixture[str]):
    assert main(["prices", "nvidia-b200-sxm-180gb", "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert main(["prices", "nvidia-b200-sxm-180gb", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(content["offers"])
    assert content["schema_version"] == 1
    assert content["chosen"] in content["compared"]
    assert [float(row["usd_per_device_hour"]) for row in rows] == [
        offer["usd_per_device_hour"] for offer in content["offers"]
    ]


def test_output_is_the_same_every_time(capsys: pytest.CaptureFixture[str]):
    main(["prices", "--format", "json"])
    first = capsys.readouterr().out
    main(["prices", "--format", "json"])
    assert capsys.readouterr().out == first


def test_a_provider_shows_all_its_regions(capsys: pytest.CaptureFixture[str]):
    assert main(["prices", "nvidia-h100-sxm5-80gb", "--provider", "gcp"]) == 0
    text = capsys.readouterr().out
    assert "europe-west4" in text
    assert "us-east5" in text
    assert "aws" not in text


def test_grids_say_gas_and_year(capsys: pytest.CaptureFixture[str]):
    assert main(["prices", "--grids", "--format", "json"]) == 0
    entries = {entry["code"]: entry for entry in json.loads(capsys.readouterr().out)["grids"]}
    assert entries["FRA"]["gas"] == "CO2e"
    assert entries["CN-BJ"]["gas"] == "CO2"
    assert entries["us-central1"]["year"] == "2024"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prices", "nvidia-l5"], 1, "nvidia-l40s"),
        (["prices", "--provider", "nebus"], 1, "nebius"),
        (["prices", "nvidia-l4", "--grids"], 2, "--grids takes no"),
    ],
)
def test_faults_exit_with_a_hint_and_no_result(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == code
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("order", "key", "falls"),
    [
        ("price", "usd_per_device_hour", False),
        ("age", "as_of", True),
        ("sellers", "providers", True),
        ("name", "accelerator_id", False),
    ],
)
def test_the_list_is_sorted(
    order: str, key: str, falls: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "--sort", order, "--format", "json"]) == 0
    found = [entry[key] for entry in json.loads(capsys.readouterr().out)["prices"]]
    assert len(found) > 20
    if key == "as_of":
        found = [f"{day}-01-01"[:10] for day in found]
    assert found == sorted(found, reverse=falls)
