"""Scrape a process as Prometheus does; promtool checks each answer, if there is one."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.provision import Program

PROMTOOL = Program("promtool", "prometheus")


@dataclass(frozen=True)
class Scrape:
    """The samples of one answer."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]
    kinds: Mapping[str, str]

    @classmethod
    def of(cls, text: str) -> Self:
        samples, kinds = {}, {}
        for family in text_string_to_metric_families(text):
            assert family.type != "unknown", f"{family.name} has no TYPE"
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in samples, f"{key} is there twice"
                samples[key] = sample.value
                kinds[sample.name] = family.type
        return cls(samples, kinds)

    @classmethod
    def at(cls, port: int) -> Self:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return cls.of(answer.text)

    def sum(self, name: str, **labels: str) -> float:
        """All series of this name that have these labels, added up; 0 when there are none."""
        return sum(
            value
            for (sample, own), value in self.samples.items()
            if sample == name and labels.items() <= dict(own).items()
        )

    def fallen_since(self, before: "Scrape") -> list[str]:
        """Return the counters that have fallen or are gone."""
        return [
            f"{name}{dict(labels)}: {value} → {self.samples.get((name, labels))}"
            for (name, labels), value in before.samples.items()
            if before.kinds[name] in {"counter", "histogram"}
            and self.samples.get((name, labels), -1) < value
        ]


def checked_by_promtool(text: str) -> str | None:
    """Return the complaints of promtool; None without a promtool."""
    program = PROMTOOL.find()
    if program is None:
        return None
    asked = subprocess.run(
        [program, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    return (asked.stdout + asked.stderr).strip()
