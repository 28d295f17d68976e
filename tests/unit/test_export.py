"""`fleet export`: the pools for engines that a site runs already, and when there is nothing to export."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_fleet.authority.folder import made_authority
from tests.unit.fleet_cli import fleet, fleet_json
from tests.unit.gateways import HOSTS, TWO, document

OWN = {"lb1": {"address": "10.0.0.5", "manage": False}}


def written(folder: Path, machines: Any = TWO, **gateway: Any) -> Path:
    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump(document(machines, **gateway), sort_keys=False))
    return path


def objects(path: Path, *options: object) -> dict[tuple[str, str], Any]:
    text = fleet("export", path, "--to", "kubernetes", *options).stdout
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}


def groups(path: Path, role: str) -> list[Any]:
    found = json.loads(fleet("export", path, "--to", "prometheus-sd").stdout)
    return [group for group in found if group["labels"]["role"] == role]


# HAProxy; tests/lab/test_export.py runs one.


def test_each_model_is_a_backend_of_its_slices(tmp_path: Path) -> None:
    text = fleet("export", written(tmp_path, OWN), "--to", "haproxy").stdout
    pool = text.partition("backend model.qwen3_3a8b from ollama")[2].splitlines()
    fast, slow = (line.split() for line in pool if line.startswith("    server"))
    assert fast[1:3] == ["gpu01.chat", "10.0.0.11:11443"] and slow[1] == "gpu02.chat"
    assert fast[fast.index("maxconn") + 1] == "2" and slow[slow.index("maxconn") + 1] == "1"
    assert int(fast[fast.index("weight") + 1]) > int(slow[slow.index("weight") + 1])
    assert slow[slow.index("verifyhost") + 1] == "gpu02"
    assert "The hosts let it in as 'lb1'" in text


def test_hosts_are_asked_who_they_are(tmp_path: Path) -> None:
    path = written(tmp_path, OWN)
    text = fleet("export", path, "--to", "haproxy", "--certificates", "/etc/ssl/x/").stdout
    assert "ssl verify required ca-file /etc/ssl/x/hop-ca.pem crt /etc/ssl/x/hop.pem" in text
    assert text.count(" verifyhost gpu01") == 5


def test_the_map_of_models_lies_beside_the_configuration(tmp_path: Path) -> None:
    out = tmp_path / "ollama.cfg"
    told = fleet("export", written(tmp_path, OWN), "--to", "haproxy", "--out", out).stdout
    lines = (tmp_path / "ollama.map").read_text().splitlines()
    assert "ollama.map is written" in told
    assert "qwen3:8b model.qwen3_3a8b" in lines
    # Clients may leave `:latest` out.
    assert "nomic-embed-text model.nomic-embed-text_3alatest" in lines
    assert "nomic-embed-text:latest model.nomic-embed-text_3alatest" in lines
    assert all(f"#     {line}\n" in out.read_text() for line in lines)


def test_hosts_by_name_keep_no_engine_from_starting(tmp_path: Path) -> None:
    inventory = document(OWN)
    hosts = {"gpu01": {**HOSTS["gpu01"], "address": "gpu01.lan"}}
    path = tmp_path / "prod.yml"
    path.write_text(yaml.safe_dump({**inventory, "hosts": hosts}))
    text = fleet("export", path, "--to", "haproxy").stdout
    assert "gpu01.lan:11443 init-addr last,libc,none verifyhost gpu01" in text


# Prometheus


def test_prometheus_knows_gateways_hosts_and_slices(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert [group["targets"] for group in groups(path, "gateway")] == [
        ["10.0.0.21:443"],
        ["10.0.0.22:443"],
    ]
    assert [group["targets"] for group in groups(path, "host")] == [["10.0.0.11"], ["10.0.0.12"]]
    chat = groups(path, "slice")[0]
    assert chat["targets"] == ["10.0.0.11:11443"]
    assert chat["labels"]["models"] == ",qwen3:8b,nomic-embed-text:latest,"
    assert (chat["labels"]["gpu"], chat["labels"]["parallel"]) == ("RTX 3090", "2")


PROMETHEUS = """
scrape_configs:
  - job_name: node
    file_sd_configs: [{files: [ollama.json]}]
    relabel_configs:
      - {source_labels: [role], regex: host, action: keep}
      - {source_labels: [__address__], target_label: __address__, replacement: "$1:9100"}
"""


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool: apt-get install prometheus")
def test_prometheus_takes_the_file(tmp_path: Path) -> None:
    fleet("export", written(tmp_path), "--to", "prometheus-sd", "--out", tmp_path / "ollama.json")
    (tmp_path / "prometheus.yml").write_text(PROMETHEUS)
    for words in (("config", "prometheus.yml"), ("service-discovery", "prometheus.yml", "node")):
        done = subprocess.run(
            ["promtool", "check", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert '"instance": "10.0.0.11:9100"' in done.stdout


# Kubernetes


def test_pods_reach_the_gateways_by_one_service(tmp_path: Path) -> None:
    made = objects(written(tmp_path), "--namespace", "llm")
    service, endpoints = made["Service", "ollama"], made["EndpointSlice", "ollama"]
    assert "selector" not in service["spec"] and service["metadata"]["namespace"] == "llm"
    assert endpoints["metadata"]["labels"]["kubernetes.io/service-name"] == "ollama"
    assert [one["addresses"] for one in endpoints["endpoints"]] == [["10.0.0.21"], ["10.0.0.22"]]
    # What joins the two: the same name of the port.
    assert service["spec"]["ports"][0]["name"] == endpoints["ports"][0]["name"] == "https"


def test_a_shared_address_is_the_only_endpoint(tmp_path: Path) -> None:
    made = objects(written(tmp_path, virtual_address={"address": "10.0.0.50/24"}))
    assert [one["addresses"] for one in made["EndpointSlice", "ollama"]["endpoints"]] == [
        ["10.0.0.50"]
    ]


def test_engines_in_the_cluster_find_each_host(tmp_path: Path) -> None:
    made = objects(written(tmp_path, OWN))
    assert ("Service", "ollama") not in made
    hop = made["Service", "ollama-hop-gpu02"]["spec"]
    assert hop["clusterIP"] == "None" and hop["ports"][0]["port"] == 11443
    assert made["EndpointSlice", "ollama-hop-gpu02"]["endpoints"][0]["addresses"] == ["10.0.0.12"]


def test_a_gateway_by_name_becomes_an_alias(tmp_path: Path) -> None:
    made = objects(written(tmp_path, {"gw1": {"address": "gw1.lan"}}))
    assert made["Service", "ollama"]["spec"] == {
        "type": "ExternalName",
        "externalName": "gw1.lan",
    }


def test_the_certificate_has_to_have_the_services_name(tmp_path: Path) -> None:
    said = fleet("export", written(tmp_path), "--to", "kubernetes").stdout
    assert "names: […, ollama.default.svc]" in said
    named = written(tmp_path, names=["ollama.default.svc"])
    assert "names: […" not in fleet("export", named, "--to", "kubernetes").stdout


def test_names_that_clusters_do_not_allow_are_made_to_fit(tmp_path: Path) -> None:
    long = "a" * 70
    hosts = {
        name: {"address": f"10.0.1.{order}", "slices": HOSTS["gpu02"]["slices"]}
        for order, name in enumerate(("GPU_1", "gpu-1", long))
    }
    path = tmp_path / "prod.yml"
    path.write_text(yaml.safe_dump({**document(), "hosts": hosts}))
    names = [name for kind, name in objects(path) if kind == "Service"]
    assert len(names) == len(set(names)) == 4
    assert all(len(name) <= 63 and name == name.lower() for name in names)


# For programs, and when it cannot be


def test_programs_get_names_and_texts(tmp_path: Path) -> None:
    told = fleet_json("export", written(tmp_path, OWN), "--to", "haproxy")
    assert told["to"] == "haproxy" and set(told["files"]) == {"ollama.cfg", "ollama.map"}


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"gateway": None, "gateways": {}}, [], "has no gateway"),
        (
            {"hosts": {"gpu01": HOSTS["gpu01"]}, "gateways": {}},
            [],
            "listens for no other machine",
        ),
        ({}, ["--certificates", "relative"], "--certificates"),
        ({}, ["--certificates", "/x y"], "--certificates"),
    ],
)
def test_what_cannot_be_exported_is_said(
    tmp_path: Path, change: Any, options: list[str], said: str
) -> None:
    path = tmp_path / "prod.yml"
    path.write_text(yaml.safe_dump({**document(), **change}))
    assert said in fleet("export", path, "--to", "haproxy", *options, code=2).stderr


@pytest.mark.parametrize(
    ("machines", "gateway", "options", "said"),
    [
        ({**TWO, "gw2": {"address": "gw2.lan"}}, {}, [], "takes only numbers"),
        ({**TWO, "gw2": {"address": "127.0.0.1"}}, {}, [], "another machine on each node"),
        ({**TWO, "gw2": {"address": "fd00::2"}}, {}, [], "two kinds"),
        (TWO, {}, ["--namespace", "A b"], "--namespace"),
    ],
)
def test_what_no_cluster_can_reach_is_said(
    tmp_path: Path, machines: Any, gateway: Any, options: list[str], said: str
) -> None:
    path = written(tmp_path, machines, **gateway)
    assert said in fleet("export", path, "--to", "kubernetes", *options, code=2).stderr


def test_an_unknown_engine_is_bad_input(tmp_path: Path) -> None:
    fleet("export", written(tmp_path), "--to", "nginx", code=2)


def test_an_engine_gets_its_certificate_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    made_authority(tmp_path / "inventory/prod.ca")
    page = (Path(__file__).parents[2] / "docs/export.md").read_text()
    block = page.partition("```sh\nopenssl req")[2].partition(".venv/bin/fleet ca export")[0]
    subprocess.run(["sh", "-ec", f"openssl req{block}"], cwd=tmp_path, check=True)
    hop = tmp_path / "hop.pem"
    assert hop.read_text().count("-----BEGIN") == 2
    checked = subprocess.run(
        ["openssl", "verify", "-CAfile", "inventory/prod.ca/ca.pem", "-purpose", "sslclient", hop],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


# What a site's own Prometheus and Grafana need


def monitored(folder: Path, monitors: Any) -> Path:
    from tests.unit.monitored import document as monitored_document

    path = folder / "prod.yml"
    path.write_text(yaml.safe_dump(monitored_document(monitors), sort_keys=False))
    return path


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool: apt-get install prometheus")
def test_a_prometheus_of_the_site_gets_targets_and_rules(tmp_path: Path) -> None:
    path = monitored(tmp_path, {"prom1": {"address": "10.0.0.9", "manage": False}})
    told = fleet("export", path, "--to", "prometheus", "--out", tmp_path / "out").stdout
    assert f"{tmp_path}/out/rules/ollama-gpus.yml is written" in told
    text = (tmp_path / "out/ollama-scrape.yml").read_text()
    assert "The hosts let it in as 'prom1'" in text
    assert "cert_file: /etc/prometheus/ollama/client.pem" in text
    (tmp_path / "out/prometheus.yml").write_text(f"rule_files: [rules/*.yml]\n{text}")
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", "prometheus.yml"],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_prometheus_that_no_host_lets_in_is_refused(tmp_path: Path) -> None:
    path = monitored(tmp_path, {"mon1": {"address": "10.0.0.9"}})
    done = fleet("export", path, "--to", "prometheus", "--out", tmp_path / "out", code=2)
    assert "name yours: `monitors: {prom1: {address: 10.0.0.9, manage: false}}`" in done.stderr


def test_grafana_gets_dashboards_and_is_told_where_prometheus_is(tmp_path: Path) -> None:
    path = monitored(tmp_path, {"mon1": {"address": "10.0.0.9"}})
    fleet("export", path, "--to", "grafana", "--out", tmp_path / "out")
    assert len(list((tmp_path / "out/dashboards").glob("*.json"))) == 4
    source = (tmp_path / "out/provisioning/datasources/ollama-fleet.yml").read_text()
    assert "url: http://127.0.0.1:9090" in source


def test_several_files_need_a_folder(tmp_path: Path) -> None:
    path = monitored(tmp_path, {"mon1": {"address": "10.0.0.9"}})
    done = fleet("export", path, "--to", "grafana", code=2)
    assert "name a folder: --out FOLDER" in done.stderr
    files = fleet_json("export", path, "--to", "grafana")["files"]
    assert "dashboards/ollama-gateway.json" in files
