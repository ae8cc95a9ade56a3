"""When a live object has left what we set, and when it only holds more than that."""

from __future__ import annotations

import pytest

from memorystack_operator.shell.drift import differs

SAME = {
    "equal": ({"a": 1, "b": ["x"]}, {"a": 1, "b": ["x"]}),
    "a default of the server": ({"spec": {"replicas": 3}}, {"spec": {"replicas": 3, "revisionHistoryLimit": 10}}),
    "a variable by kubectl set env": (
        {"env": [{"name": "A", "value": "1"}]},
        {"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]},
    ),
    "a quantity in the server's own words": ({"cpu": "0.5", "memory": "1024Mi"}, {"cpu": "500m", "memory": "1Gi"}),
    "an empty value that the server drops": ({"env": [{"name": "A", "value": ""}], "x": {}}, {"env": [{"name": "A"}]}),
    "ports get a name": ({"ports": [{"port": 80}]}, {"ports": [{"port": 80, "nodePort": 31000}]}),
}
OTHER = {
    "a changed value": ({"spec": {"replicas": 3}}, {"spec": {"replicas": 1}}),
    "a missing object": ({"a": {"b": 1}}, {}),
    "a missing item": ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "B", "value": "1"}]}),
    "a changed item": ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "2"}]}),
    "a longer list of words": ({"drop": ["ALL"]}, {"drop": ["ALL", "NET"]}),
    "another order of words": ({"args": ["a", "b"]}, {"args": ["b", "a"]}),
    "another quantity": ({"cpu": "0.5"}, {"cpu": "501m"}),
    "true is not 1": ({"a": True}, {"a": "true"}),
    "a list for an object": ({"a": {"b": 1}}, {"a": [1]}),
    "an object for a list": ({"a": [1]}, {"a": {"b": 1}}),
    "a word that only looks like a number": ({"a": "1Gi"}, {"a": "x"}),
}


@pytest.mark.parametrize("case", SAME.values(), ids=SAME)
def test_an_object_that_has_what_we_set_is_left_alone(case):
    assert not differs(*case)


@pytest.mark.parametrize("case", OTHER.values(), ids=OTHER)
def test_an_object_that_lost_what_we_set_is_mended(case):
    assert differs(*case)
