"""Each object moves only forward, whatever comes late; and ghosts go with the next whole list."""

from __future__ import annotations

from memorystack_operator.shell.records import PodRecord, Record, record_of
from memorystack_operator.shell.resources import DEPLOYMENTS, PODS, STACKS, resource_of
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.store import Store

MEM = Key("ai", "mem")


def pod(name: str = "p", version: int = 1, uid: str = "u", namespace: str = "ai", born: int = 1) -> Record:
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {"app.kubernetes.io/instance": "mem"},
        "creationTimestamp": f"2026-01-01T00:00:0{born}Z",
    }
    return record_of(PODS, {"metadata": meta})


def stack(version: int = 1) -> Record:
    return record_of(STACKS, {"metadata": {"name": "mem", "namespace": "ai", "resourceVersion": str(version)}})


def test_an_older_event_that_comes_late_undoes_nothing():
    store = Store()
    assert store.put(pod(version=5))
    assert not store.put(pod(version=4))
    assert not store.put(pod(version=5))
    assert store.put(pod(version=6))


def test_an_object_of_the_same_name_and_another_uid_is_news_at_a_newer_version_only():
    store = Store()
    store.put(pod(version=5))
    assert not store.put(pod(version=4, uid="older"))
    assert store.put(pod(version=6, uid="newer"))
    assert [p.uid for p in store.pods(MEM)] == ["newer"]


def test_a_deleted_object_does_not_come_back_by_an_event_from_before():
    store = Store()
    store.put(pod(version=5))
    assert store.drop(PODS, Key("ai", "p"), 7) is not None
    assert not store.put(pod(version=6))
    assert store.pods(MEM) == []
    assert store.put(pod(version=8, uid="again"))


def test_the_deletion_of_a_predecessor_leaves_its_successor():
    store = Store()
    store.put(pod(version=9, uid="again"))
    assert store.drop(PODS, Key("ai", "p"), 7) is None
    assert len(store.pods(MEM)) == 1


def test_a_whole_list_takes_ghosts_away_and_nothing_that_is_newer_or_elsewhere():
    store = Store()
    for one in (pod("kept", 1), pod("ghost", 2), pod("new", 9), pod("far", 3, namespace="other")):
        store.put(one)
    gone = store.prune(PODS, "ai", [Key("ai", "kept")], 5)
    assert [r.key.name for r in gone] == ["ghost"]
    assert sorted(p.key.name for p in store.pods(MEM)) == ["kept", "new"]
    assert [r.key.name for r in store.prune(PODS, "", [Key("ai", "kept"), Key("ai", "new")], 10)] == ["far"]


def test_what_was_buried_before_a_list_is_forgotten_with_it():
    store = Store()
    store.drop(PODS, Key("ai", "p"), 7)
    store.prune(PODS, "ai", [], 10)
    assert store.put(pod(version=6))  # a list at version 10 has shown that no older event can come


def test_a_stack_s_objects_are_found_by_its_name_and_pods_come_oldest_first():
    store = Store()
    for one in (pod("b", 1, born=2), pod("a", 2, born=3), pod("c", 3, born=1), stack()):
        store.put(one)
    assert [p.key.name for p in store.pods(MEM)] == ["c", "b", "a"]
    assert store.stacks() == [MEM]
    assert store.stack(MEM) is not None
    assert store.stack(Key("ai", "other")) is None
    assert store.deployment(MEM) is None
    assert store.children(MEM) == []


def test_an_object_that_changes_its_stack_leaves_the_former():
    store = Store()
    store.put(pod(version=1))
    meta = {"name": "p", "namespace": "ai", "uid": "u", "resourceVersion": "2"}
    store.put(record_of(PODS, {"metadata": {**meta, "labels": {"app.kubernetes.io/instance": "other"}}}))
    assert store.pods(MEM) == []
    assert [p.key.name for p in store.pods(Key("ai", "other"))] == ["p"]


def test_an_object_is_given_only_as_what_it_is():
    store = Store()
    store.put(pod())
    assert isinstance(store.pod(Key("ai", "p")), PodRecord)
    assert store.pod(Key("ai", "q")) is None
    assert store.child(DEPLOYMENTS, MEM) is None
    assert store.child(resource_of("v1", "Service"), MEM) is None
