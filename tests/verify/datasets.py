"""Projects, and the files to learn from."""

import csv
import hashlib
import io
import json
import statistics

import pyarrow as pa
import pyarrow.parquet as pq

from tests.verify.loop import FLIGHTS, Json, as_csv, body_of, upload
from tests.verify.registry import expect, expect_problem, expect_status, promise
from tests.verify.scene import Scene

SMALL: list[Json] = [
    {"city": name, "people": 10 * n, "growth": n / 4, "target": n % 2}
    for n, name in enumerate("abcdefgh" * 5)
]


@promise("S1 S30", "projects are created, read, changed, listed and deleted, and are their members' only")
def projects(scene: Scene) -> str:
    caller = scene.maker
    made = expect_status(
        caller.api("POST", "/projects", json={"name": "verify crud", "description": "first"}), 201
    )
    path = f"/projects/{made['id']}"
    expect_problem(caller.api("POST", "/projects", json={"name": "verify crud"}), 409)
    expect_status(caller.api("PATCH", path, json={"description": "second", "status": "archived"}), 200)
    read = expect_status(caller.api("GET", path), 200)
    expect(
        (read["description"], read["status"]) == ("second", "archived"), f"after the change it reads {read}"
    )
    for method in ("GET", "PATCH", "DELETE"):
        body = {"json": {"description": "mine now"}} if method == "PATCH" else {}
        expect_problem(scene.stranger.api(method, path, **body), 404)
    listed = expect_status(caller.api("GET", "/projects"), 200)["items"]
    expect(made["id"] in [each["id"] for each in listed], "it is not in the list")
    expect_status(caller.api("DELETE", path), 204)
    expect_problem(caller.api("GET", path), 404)
    return "created, changed, listed, deleted; a second of the name 409; a stranger 404 for each verb"


@promise("S31", "a project keeps tags and any JSON configuration, and is found by its tag")
def project_details(scene: Scene) -> str:
    config = {"alerts": {"to": ["ops@example.com"], "after_minutes": 5}, "unicode": "Überraschung"}
    body = {"name": "verify details", "tags": ["verify-tag", "b"], "config": config}
    made = expect_status(scene.maker.api("POST", "/projects", json=body), 201)
    read = expect_status(scene.maker.api("GET", f"/projects/{made['id']}"), 200)
    expect(
        read["config"] == config and read["tags"] == body["tags"],
        f"it reads {read['config']}, {read['tags']}",
    )
    found = expect_status(scene.maker.api("GET", "/projects", params={"tag": "verify-tag"}), 200)["items"]
    expect([each["id"] for each in found] == [made["id"]], f"the tag finds {len(found)} projects")
    expect_status(scene.maker.api("DELETE", f"/projects/{made['id']}"), 204)
    return "nested configuration read back equal; one project has the tag"


@promise("S32", "an uploaded file is kept byte for byte")
def kept_bytes(scene: Scene) -> str:
    sha256 = hashlib.sha256(FLIGHTS.read_bytes()).hexdigest()
    expect(scene.flights["digest"] == sha256, f"the digest is {scene.flights['digest']}, not {sha256}")
    back = scene.maker.api("GET", f"/datasets/{scene.flights['id']}/download")
    expect(hashlib.sha256(back.content).hexdigest() == sha256, "the download has other bytes")
    expect_problem(scene.stranger.api("GET", f"/datasets/{scene.flights['id']}/download"), 404)
    return f"{len(back.content)} bytes came back with sha256 {sha256[:12]}…"


@promise(
    "S33", "CSV, JSON and Parquet of one table have one schema; other files are refused by their content"
)
def formats(scene: Scene) -> str:
    csv_bytes = as_csv(SMALL[0], [each.values() for each in SMALL])
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(SMALL), parquet)
    files = {"a.csv": csv_bytes, "a.json": json.dumps(SMALL).encode(), "a.parquet": parquet.getvalue()}
    schemas = []
    for name, content in files.items():
        dataset = upload(scene.maker, content, name=f"format {name}", file_name=name)
        expect(dataset["status"] == "ready", f"{name} is {dataset['status']}: {dataset['error']}")
        expect(
            dataset["statistics"]["row_count"] == len(SMALL),
            f"{name} has {dataset['statistics']['row_count']} rows",
        )
        schemas.append([(each["name"], each["type"]) for each in dataset["schema"]])
    expect(schemas[0] == schemas[1] == schemas[2], f"the schemas differ: {schemas}")
    for name, content in {
        "a.csv": b"\x89PNG\r\n\x1a\n" + b"0" * 64,
        "a.exe": csv_bytes,
        "a.parquet": csv_bytes,
    }.items():
        sent = {"data": {"name": f"refused {name}"}, "files": {"file": (name, content)}}
        expect_problem(scene.maker.api("POST", "/datasets", **sent), 415)
    return f"{schemas[0]} from each; a picture, a program and a false Parquet 415"


@promise("S34", "schema and statistics of a file are found out, and right")
def profile(scene: Scene) -> str:
    with FLIGHTS.open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = expect_status(scene.maker.api("GET", f"/datasets/{scene.flights['id']}/profile"), 200)[
        "statistics"
    ]
    expect(found["row_count"] == len(lines), f"{found['row_count']} rows, the file has {len(lines)}")
    for name, column in found["columns"].items():
        values = [line[name] for line in lines if line[name]]
        expect(column["missing"] == len(lines) - len(values), f"{name}: {column['missing']} missing")
        expect(
            column["distinct"] == len(set(values)),
            f"{name}: {column['distinct']} distinct, not {len(set(values))}",
        )
        if column["type"] in ("integer", "decimal"):
            _expect_moments(name, column, [float(value) for value in values])
    most = found["columns"]["origin"]["categories"][0]
    counted = sum(line["origin"] == most["value"] for line in lines)
    expect(most["count"] == counted, f"{most['value']} is counted {most['count']} times, not {counted}")
    return (
        f"{len(found['columns'])} columns: missing, distinct, mean, range and counts as counted independently"
    )


def _expect_moments(name: str, column: Json, values: list[float]) -> None:
    for key, mine in (("mean", statistics.fmean(values)), ("minimum", min(values)), ("maximum", max(values))):
        expect(
            abs(column[key] - mine) <= 1e-9 * max(1.0, abs(mine)), f"{name}: {key} {column[key]}, not {mine}"
        )


@promise("S35", "a data set has versions; the same bytes again are the version that has them")
def versions(scene: Scene) -> str:
    first = as_csv(SMALL[0], [each.values() for each in SMALL])
    dataset = upload(scene.maker, first, name="versions")
    path = f"/datasets/{dataset['id']}/versions"
    second = first + b"z,1,1.5,0\n"
    added = expect_status(scene.maker.api("POST", path, files={"file": ("b.csv", second)}), 201)
    again = expect_status(scene.maker.api("POST", path, files={"file": ("c.csv", first)}), 200)
    expect(
        (added["version"], again["version"]) == (2, 1), f"versions {added['version']} and {again['version']}"
    )
    for number, content in ((1, first), (2, second)):
        back = scene.maker.api("GET", f"{path}/{number}/download").content
        expect(back == content, f"version {number} has other bytes")
    total = body_of(scene.maker.api("GET", path))["total"]
    expect(total == 2, f"{total} versions")
    return "two versions, each with its bytes; a repeated upload answered with version 1"
