"""Containers of a service: Docker Compose, Kubernetes, and values of llm-d and Dynamo."""

from __future__ import annotations

from typing import Any

from costsim.launching.writing.service import Replicas
from costsim.launching.writing.text import one_line
from costsim.planning.launch import launch_table

_RESOURCES = {"NVIDIA": "nvidia.com/gpu", "AMD": "amd.com/gpu", "Intel": "habana.ai/gaudi"}
_CACHE = "/root/.cache/huggingface"
_START_S = 3600  # of a probe: large checkpoints are read for half an hour


def compose(service: Replicas) -> dict[str, str]:
    """Return a Compose file that fills one node with replicas, each on devices of its own."""
    count = max(1, min(service.needed, service.per_node // service.devices))
    services: dict[str, Any] = {}
    for index in range(count):
        first = index * service.devices
        services[f"replica-{index}"] = {
            "image": service.image,
            "entrypoint": ["bash", "-c"],
            "command": [_doubled(service.served)],
            "ports": [f"{service.port + index}:{service.port}"],
            "ipc": "host",
            "restart": "unless-stopped",
            "environment": ["HF_TOKEN"],
            "volumes": [f"huggingface:{_CACHE}"],
            "deploy": {
                "resources": {
                    "reservations": {
                        "devices": [
                            {
                                "driver": "nvidia",
                                "device_ids": [str(first + k) for k in range(service.devices)],
                                "capabilities": ["gpu"],
                            }
                        ]
                    }
                }
            },
            "healthcheck": {
                "test": ["CMD", "curl", "-fs", f"http://localhost:{service.port}/health"],
                "interval": "30s",
                "start_period": f"{_START_S}s",
            },
        }
        if service.vendor != "NVIDIA":
            services[f"replica-{index}"].pop("deploy")
            services[f"replica-{index}"]["devices"] = ["/dev/kfd", "/dev/dri"]
    name = f"docker compose up: {count} of the {service.needed} replicas, as many as a node holds"
    return _yaml(
        "compose.yaml", service, name, {"services": services, "volumes": {"huggingface": {}}}
    )


def kubernetes(service: Replicas) -> dict[str, str]:
    """Return a Deployment of all replicas, and the Service before them."""
    labels = {"app": service.label}
    resource = _RESOURCES.get(service.vendor, "nvidia.com/gpu")
    container: dict[str, Any] = {
        "name": "engine",
        "image": service.image,
        "command": ["bash", "-c"],
        "args": [f"exec {service.served}" if "<(" not in service.served else service.served],
        "ports": [{"containerPort": service.port, "name": "http"}],
        "env": [
            {
                "name": "HF_TOKEN",
                "valueFrom": {
                    "secretKeyRef": {"name": "huggingface", "key": "token", "optional": True}
                },
            }
        ],
        "resources": {"limits": {resource: str(service.devices)}},
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 10},
        "startupProbe": {
            "httpGet": {"path": "/health", "port": "http"},
            "periodSeconds": 30,
            "failureThreshold": _START_S // 30,
        },
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "models", "mountPath": _CACHE},
        ],
    }
    deployment: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service.label, "labels": labels},
        "spec": {
            "replicas": service.needed,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "volumes": [
                        {"name": "shm", "emptyDir": {"medium": "Memory"}},
                        {"name": "models", "emptyDir": dict[str, Any]()},
                    ],
                },
            },
        },
    }
    front = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service.label, "labels": labels},
        "spec": {
            "selector": labels,
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }
    text = "---\n".join(_text(tree) for tree in (deployment, front))
    about = (
        "kubectl apply -f kubernetes.yaml; each pod reads the model anew, `models` being no claim"
    )
    return {"kubernetes.yaml": _head(service, about) + text}


def llm_d(service: Replicas) -> dict[str, str]:
    """Return values of llm-d's chart of model services; the plan has no pool of prompts apart."""
    values = {
        "modelArtifacts": {
            "uri": f"hf://{service.checkpoint}",
            "name": service.checkpoint,
            "size": "1Ti",
            "authSecretName": "huggingface",
        },
        "routing": {"servicePort": service.port},
        "decode": {
            "create": True,
            "replicas": service.needed,
            "parallelism": {"tensor": service.tensor, "data": service.data},
            "containers": [
                {
                    "name": "engine",
                    "image": service.image,
                    "modelCommand": "custom",
                    "command": ["bash", "-c"],
                    "args": [service.served],
                    "ports": [{"containerPort": service.port}],
                    "resources": {
                        "limits": {
                            _RESOURCES.get(service.vendor, "nvidia.com/gpu"): service.devices
                        }
                    },
                    "mountModelVolume": True,
                }
            ],
        },
        "prefill": {"create": False},
    }
    about = "helm install NAME llm-d-modelservice/llm-d-modelservice -f llm-d.yaml"
    return _yaml("llm-d.yaml", service, about, values)


def dynamo(service: Replicas) -> dict[str, str]:
    """Return a graph of NVIDIA Dynamo: a frontend, and the replicas as workers."""
    row = launch_table()[service.software]
    started = row["command"].format(model=service.checkpoint)
    worker = row["worker"].format(model=service.checkpoint)
    command = service.command.replace(started, worker, 1)
    image = "${DYNAMO_IMAGE}"  # of the engine and release, as Dynamo publishes them
    services = {
        "Frontend": {
            "componentType": "frontend",
            "replicas": 1,
            "extraPodSpec": {"mainContainer": {"image": image}},
        },
        "Worker": {
            "componentType": "worker",
            "replicas": service.needed,
            "envFromSecret": "hf-token-secret",
            "resources": {"limits": {"gpu": str(service.devices)}},
            "extraPodSpec": {
                "mainContainer": {"image": image, "command": ["bash", "-c"], "args": [command]}
            },
        },
    }
    graph = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": service.label},
        "spec": {"services": services},
    }
    about = (
        "envsubst < dynamo.yaml | kubectl apply -f -; DYNAMO_IMAGE is Dynamo's image of the engine"
    )
    return _yaml("dynamo.yaml", service, about, graph)


def _yaml(name: str, service: Replicas, about: str, tree: dict[str, Any]) -> dict[str, str]:
    return {name: _head(service, about) + _text(tree)}


def _text(tree: dict[str, Any]) -> str:
    """Return YAML in which every value is written out where it stands."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump(tree, Dumper=Plain, sort_keys=False, width=1000)


def _head(service: Replicas, about: str) -> str:
    lines = [one_line(service.title), about, *service.remarks]
    return "".join(f"# {one_line(line)}\n" for line in lines)


def _doubled(command: str) -> str:
    """Return a command as Compose takes it: a dollar sign is written twice."""
    return command.replace("$", "$$")
