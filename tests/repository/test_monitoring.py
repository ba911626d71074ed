"""Alerts and dashboard ask for what the server tells, and every metric is explained."""

import itertools
import json
import re
import shutil
import subprocess

import pytest
import yaml

from service.api.problems import _HTTP_CODES, INTERNAL, PROBLEMS
from service.observability import metrics
from tests.repository.tracked_files import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "mt3-dashboard.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
README = (ROOT / "service" / "observability" / "README.md").read_text()
RUNBOOK = (ROOT / "deploy" / "README.md").read_text()
SUFFIXES = {
    "counter": ("_total",), "gauge": ("",), "info": ("_info",),
    "histogram": ("_bucket", "_sum", "_count"),
}  # fmt: skip
KEYWORDS = {"and", "or", "unless", "offset", "bool"}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing")


def declared():
    """Our metrics by the name that Prometheus shows: (type, labels)."""
    found = {}
    for collector in metrics.Metrics().registry._collector_to_names:
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", ())
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            found[family.name + suffix] = (family.type, tuple(labels))
    return found


def ours():
    return {name: of for name, of in declared().items() if name.startswith("mt3_")}


def series():
    """Every name that a query may use, with its labels."""
    found = {"up": ()}
    for name, (kind, labels) in declared().items():
        bare = re.sub(r"(_total|_info)$", "", name) if kind in ("counter", "info") else name
        more = ("le",) if kind == "histogram" else ()
        found |= {bare + suffix: (*labels, *more) for suffix in SUFFIXES.get(kind, ("",))}
    return found


def expressions():
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]


def names_in(expression):
    """The metrics of a PromQL expression: what is left without matchers, groupings and calls."""
    bare = re.sub(r"^label_values\((.*), \w+\)$", r"\1", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"(?<![\w.])[a-z_:][\w:]*(?!\w)(?!\s*\()", bare)
    return {word for word in words if word not in KEYWORDS}


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_query_names_only_metrics_that_exist_and_their_labels(where, expression):
    known = series()
    assert names_in(expression), "a query asks for something"
    assert names_in(expression) <= set(known)
    for name, matchers in re.findall(r"([a-z_]\w*)\{([^}]*)\}", expression):
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert used <= {*known[name], "job", "instance"}, name


VALUES = {
    "state": {*metrics.MODEL_STATES, *metrics.JOB_ITEM_STATES},
    "outcome": {
        *metrics.SEGMENT_OUTCOMES, *metrics.TRANSCRIPTION_OUTCOMES, *metrics.JOB_ITEM_OUTCOMES,
        *metrics.WEBHOOK_OUTCOMES, "loaded", "failed",
    },
    "code": {problem.code for problem in (*PROBLEMS.values(), INTERNAL)}
    | set(_HTTP_CODES.values()),
    "method": set(metrics.HTTP_METHODS),
}  # fmt: skip


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_query_asks_for_values_that_occur(where, expression):
    for label, values in re.findall(r'(\w+)=~?"([^"$]*)"', expression):
        assert set(values.split("|")) <= VALUES[label]


def test_a_name_that_no_metric_has_is_noticed():
    found = names_in(
        'sum by (job) (rate(mt3_gone_total{code="x"}[5m])) > 0.5 offset 6h and up == 1'
    )
    assert found == {"mt3_gone_total", "up"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_where_to_read_what_to_do(rule):
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"
    assert f"### {rule['alert']}\n" in RUNBOOK


def test_the_runbook_explains_no_alert_that_is_gone():
    explained = set(re.findall(r"^### (MT3\w+)$", RUNBOOK, re.MULTILINE))
    assert explained == {rule["alert"] for rule in RULES}


def test_every_alert_is_tried_both_ways():
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())["tests"]
    tried = [case for test in tests for case in test["alert_rule_test"]]
    for rule in RULES:
        outcomes = {
            bool(case["exp_alerts"]) for case in tried if case["alertname"] == rule["alert"]
        }
        assert outcomes == {True, False}, rule["alert"]


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml"),
     ("check", "config", "prometheus.yaml")],
    ids=" ".join,
)  # fmt: skip
def test_promtool_finds_nothing_wrong(arguments):
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_is_explained_in_its_chapter():
    rows = re.findall(r"^\| `(mt3_\w+)` \| (\w+) \|([^|]*)\|", README, re.MULTILINE)
    explained = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert explained == ours()


def test_every_metric_is_on_the_dashboard():
    shown = set().union(*(names_in(expression) for _, expression in expressions()))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert not set(ours()) - shown


def test_every_panel_is_explained_and_asks_the_data_source_chosen():
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert all(panel["description"] and panel["targets"] for panel in panels)
    sources = {target["datasource"]["uid"] for panel in panels for target in panel["targets"]}
    assert sources == {"${datasource}"}
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identities) == len(set(identities))


def test_no_panel_lies_on_another():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert all(place["x"] + place["w"] <= 24 for place in places)
