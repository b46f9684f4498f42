"""Reads metrics from standard input with Prometheus's own parser, and looks that those that are promised are there."""

import sys

from prometheus_client.parser import text_string_to_metric_families

PROMISED = {
    "regrip_received_bytes": set(),
    "regrip_attempts": {"class"},
    "regrip_restarts": {"reason"},
    "regrip_downloads": {"status"},
    "regrip_permits_used": set(),
    "regrip_permits_limit": set(),
    "regrip_permits_waiting": set(),
    "regrip_peer_breaker_open": {"peer_id", "peer"},
}

families = {family.name: family for family in text_string_to_metric_families(sys.stdin.read())}
for name, labels in PROMISED.items():
    family = families[name]
    assert family.documentation and family.type in ("counter", "gauge"), name
    assert family.samples, name
    for sample in family.samples:
        assert set(sample.labels) == labels, sample
for family in families.values():
    named = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
    assert len(named) == len(set(named)), family.name
print(f"{len(families)} families of metrics")
