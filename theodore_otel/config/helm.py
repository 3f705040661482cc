"""What runs in Kubernetes: `helm` in theodore-otel.yaml."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from theodore_otel.config.base import Section
from theodore_otel.config.units import Size

KubernetesName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$")]
SecretName = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$")]
Folder = Annotated[str, Field(pattern=r"^(/[^/\s]+)+$")]


class Replicas(Section):
    """How many collectors share the work. One decides on every trace as a whole."""

    min: int = Field(1, ge=1, description="Collectors at least.")
    max: int = Field(1, ge=1, description="Collectors at most; above `min` the load decides between them.")

    @model_validator(mode="after")
    def _max_is_not_below_min(self) -> Self:
        if self.max < self.min:
            raise ValueError(f"expected max of at least {self.min}, which is min, got {self.max}")
        return self


class Secrets(Section):
    """Names of existing Secrets; their values stand in no file that is rendered."""

    destinations: SecretName = Field(
        "theodore-otel-secrets",
        description="Has what the collector is given by reference: key X for {env: X}, P's last part for {file: P}.",
    )
    credentials: SecretName = Field(
        "theodore-otel-credentials", description="Has credentials.htpasswd, as `theodore-otel tenant` writes it."
    )
    theodore: SecretName = Field(
        "theodore-credential",
        description="Theodore's own: `credential`, as `theodore-otel tenant add -o` writes it, and keys of instrument.",
    )
    folders: dict[Folder, SecretName] = Field(
        {}, description="Secrets that are mounted at other folders, such as {/etc/theodore-otel/tls: collector-tls}."
    )


class Storage(Section):
    """The volume of one collector."""

    size: Size = Field("20GiB", validate_default=True, description="Its size; every queue on disk has to fit in.")
    storage_class: SecretName | None = Field(None, description="Its storage class; the cluster's default when empty.")


class Helm(Section):
    """The collector in Kubernetes, by the upstream chart opentelemetry-collector."""

    name: KubernetesName = Field(
        "theodore-otel", description="Name of the Service and of everything that belongs to it."
    )
    namespace: KubernetesName = Field("observability", description="Namespace it is installed in.")
    clients: list[KubernetesName] = Field([], description="Namespaces whose pods may send, besides its own.")
    monitoring: list[KubernetesName] = Field([], description="Namespaces whose pods may scrape metrics.")
    replicas: Replicas = Field(Replicas(), description="How many collectors share the work.")
    cpu: str = Field("500m", pattern=r"^([1-9]\d*m|[1-9]\d*)$", description="CPU that is asked for each collector.")
    storage: Storage = Field(Storage(), description="The volume of one collector.")
    secrets: Secrets = Field(Secrets(), description="Names of existing Secrets.")
    prometheus_operator: bool = Field(
        False, description="true adds a PodMonitor and the alert rules, for clusters that run the Prometheus operator."
    )
