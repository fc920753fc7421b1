"""Command lines and configuration: everything listens where it may, and nothing else is open."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from unittest import mock

import pytest
import yaml

from hack.cluster import addons, components, layout, network, node, supervise
from hack.cluster.components import ControlPlaneFiles, Program

OURS = ipaddress.ip_network(layout.ALL_CIDR)
NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "volumes")


@pytest.fixture
def files(tmp_path: Path) -> ControlPlaneFiles:
    binaries = {name: Path("/bin") / name for name in (*NAMES, "metrics-server")}
    return ControlPlaneFiles(tmp_path, layout.NODE_IP, layout.PORTS, binaries, on_node=True)


@pytest.fixture
def programs(files: ControlPlaneFiles) -> list[Program]:
    with mock.patch.object(components, "etcd_binary", return_value="/usr/bin/etcd"):
        etcd = components.etcd(files)
    return [
        etcd, components.apiserver(files), components.controller_manager(files), components.scheduler(files),
        node.kubelet(files), node.proxy(files), node.volumes(files), node.metrics_server(files),
    ]  # fmt: skip


def test_every_address_lies_in_the_range_or_on_loopback(
    programs: list[Program], files: ControlPlaneFiles
) -> None:
    said = [" ".join(program.command) for program in programs] + list(node.configuration(files).values())
    for text in said:
        for found in re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", text):
            address = ipaddress.ip_address(found)
            local = text == node.resolv_conf(Path("/etc/resolv.conf").read_text())
            assert address in OURS or address.is_loopback or found == "0.0.0.0" or local, text  # noqa: S104


def test_nothing_listens_everywhere(programs: list[Program], files: ControlPlaneFiles) -> None:
    for program in programs:
        assert "0.0.0.0" not in " ".join(program.command)  # noqa: S104
    assert yaml.safe_load(node.proxy_config(files))["bindAddress"] == layout.NODE_IP
    kubelet = yaml.safe_load(node.kubelet_config(files))
    assert (kubelet["address"], kubelet["readOnlyPort"]) == (layout.NODE_IP, 0)


def test_the_networks_do_not_overlap() -> None:
    nodes = ipaddress.ip_network(f"{layout.NODE_IP}/{layout.NODE_PREFIX}", strict=False)
    networks = [nodes, ipaddress.ip_network(layout.POD_CIDR), ipaddress.ip_network(layout.SERVICE_CIDR)]
    for index, one in enumerate(networks):
        assert one.subnet_of(OURS)
        assert not any(one.overlaps(other) for other in networks[index + 1 :])
    assert len(set(layout.PORTS.values())) == len(layout.PORTS)


def test_the_api_server_asks_who_and_whether_he_may(programs: list[Program]) -> None:
    command = programs[1].command
    assert "--authorization-mode=Node,RBAC" in command
    assert "--enable-admission-plugins=NodeRestriction" in command
    assert not any("disable-admission" in part or "insecure" in part for part in command)


def test_etcd_wants_certificates(programs: list[Program]) -> None:
    assert {"--client-cert-auth", "--peer-client-cert-auth"} <= set(programs[0].command)
    assert not any("http://" in part for part in programs[0].command)


def test_the_kubelet_knows_its_callers_and_keeps_images(files: ControlPlaneFiles) -> None:
    config = yaml.safe_load(node.kubelet_config(files))
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["failCgroupV1"] is False


def test_a_loopback_control_plane_publishes_no_endpoint(tmp_path: Path) -> None:
    ports = dict.fromkeys(layout.PORTS, 1)
    files = ControlPlaneFiles(tmp_path, "127.0.0.1", ports, {"kube-apiserver": Path("/bin/a")})
    assert "--endpoint-reconciler-type=none" in components.apiserver(files).command


def test_certificates_are_made_for_every_identity(files: ControlPlaneFiles) -> None:
    components.certify(files)
    node.certify(files)
    for name in ("admin", "controller-manager", "scheduler", "kubelet", "kube-proxy", "volumes"):
        config = yaml.safe_load(files.kubeconfig(name).read_text())
        assert config["clusters"][0]["cluster"]["server"] == "https://198.18.0.1:6443"


def test_loopback_name_servers_are_left_out() -> None:
    machine = (
        "search example.org\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver ::1\n#nameserver 9\n"
    )
    assert node.resolv_conf(machine) == "nameserver 10.0.0.2\n"
    assert node.resolv_conf("") == ""


def test_dns_forwards_only_where_there_is_somebody() -> None:
    assert "forward" in addons.corefile(forward=True)
    assert "forward" not in addons.corefile(forward=False)


def test_the_pod_network_routes_through_the_node() -> None:
    config = json.loads(node.cni_config())
    assert [plugin["type"] for plugin in config["plugins"]] == ["ptp"]
    assert config["plugins"][0]["ipam"]["ranges"] == [[{"subnet": layout.POD_CIDR}]]


def test_nobody_beyond_the_machine_reaches_into_the_cluster() -> None:
    (chain,) = re.findall(r"chain prerouting \{(.*?)\}", network.rules(), re.DOTALL)
    hook, rule = (line.strip() for line in chain.strip().splitlines())
    assert hook == "type filter hook prerouting priority raw; policy accept;"  # before any translation
    assert rule == 'iifname != "lo" ip saddr != 198.18.0.0/15 ip daddr 198.18.0.0/15 drop'


def test_one_storage_class_is_the_default() -> None:
    (default,) = [each for each in addons.storage() if each["kind"] == "StorageClass"]
    assert default["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert (default["volumeBindingMode"], default["reclaimPolicy"]) == ("WaitForFirstConsumer", "Delete")
    source = (Path(addons.__file__).parent / "tools/volumes/main.go").read_text()
    assert f'provisionerName = "{default["provisioner"]}"' in source


def test_the_metrics_service_leads_to_the_node() -> None:
    objects = {each["kind"]: each for each in addons.metrics("Q0E=")}
    assert objects["EndpointSlice"]["endpoints"][0]["addresses"] == [layout.NODE_IP]
    assert objects["APIService"]["spec"]["caBundle"] == "Q0E="
    assert "insecureSkipTLSVerify" not in objects["APIService"]["spec"]


def test_supervisors_configuration_reads_back(tmp_path: Path) -> None:
    import configparser

    odd = Program("odd", ("/bin/echo", "100%", "two words"), (("KEY", "50%"),))
    text = supervise.configuration([Program("first", ("/bin/true",)), odd], tmp_path)
    parsed = configparser.RawConfigParser()
    parsed.read_string(text)
    assert parsed["program:odd"]["command"] == "/bin/echo 100%% 'two words'"
    assert parsed["program:odd"]["environment"] == 'KEY="50%%"'
    assert int(parsed["program:first"]["priority"]) < int(parsed["program:odd"]["priority"])
    assert parsed["program:odd"]["autorestart"] == "true"
